package remediation

import (
	"encoding/json"
	"time"
)

// Signal is a decoded event: what it says happened to which resource, by whom
// and when. It is a hint where to look, never the truth: the live state is.
type Signal struct {
	EventID   string    `json:"event_id"` // equal for repeated deliveries of one event
	Kind      string    `json:"kind"`     // the API call (PutBucketAcl) or the detail type
	Resource  Ref       `json:"resource"` // Resource.Account is the account that owns the resource
	At        time.Time `json:"at"`
	Actor     Actor     `json:"actor"`
	RequestID string    `json:"request_id,omitempty"` // the call's own id, to know our own calls
	Playbooks []string  `json:"playbooks"`            // ids of the playbooks that the event alone points to
	// ConfigRule is the name of an AWS Config rule that nothing in the event
	// resolves to a managed rule; only AWS Config can say what it checks. It
	// is empty on every other signal.
	ConfigRule string `json:"config_rule,omitempty"`
	Change     Change `json:"change"`
	// OwnRole says that secbot's own role made a call which secbot did not make.
	// Only the engine sets it.
	OwnRole bool `json:"own_role,omitempty"`
}

// Change is what the event says was changed. Everything is optional, since
// events carry the most different parts.
type Change struct {
	Direction Direction `json:"direction,omitempty"`
	GroupName string    `json:"group_name,omitempty"` // where a call names a group without its id (default VPC)
	Rules     []Rule    `json:"rules,omitempty"`
	RuleIDs   []string  `json:"rule_ids,omitempty"` // of rules that the event names by id alone
	Unread    string    `json:"unread,omitempty"`   // why there may be rules or grants beside these, which the event does not tell
	// Answered says that Rules are what AWS answered that it has changed, not
	// only what was asked for.
	Answered bool            `json:"answered,omitempty"`
	Grants   []Grant         `json:"grants,omitempty"` // the public ones only
	Policy   json.RawMessage `json:"policy,omitempty"` // the bucket policy as it was put
	Block    *BlockFlags     `json:"block,omitempty"`  // the flags as they were put
	Openness []Openness      `json:"openness,omitempty"`
}
