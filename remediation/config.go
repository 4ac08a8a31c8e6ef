package remediation

// Mode caps every decision.
type Mode string

// The modes, the weakest first.
const (
	ModeObserve Mode = "observe" // tell, never act, never ask
	ModeAsk     Mode = "ask"     // ask at most
	ModeAuto    Mode = "auto"    // as the rules say
)

// Config is secbot.yaml.
type Config struct {
	Mode       Mode
	Channel    string   // where messages go unless a rule says otherwise
	Responders []string // Slack user (U…, W…) and user group (S…) ids
	Regions    []string // which regions a scan covers
	Notify     Notify
	Rules      []PolicyRule
}

// Notify says where automatic fixes are published besides Slack.
type Notify struct {
	SNSTopicARN string
}

// PolicyRule is one line of the policy: the first whose Match fits decides.
type PolicyRule struct {
	Name string
	Line int // in the file; 0 in the built-in rules
}

// Part is a share of a finding with what the policy decided for it.
type Part struct {
	Finding  Finding
	Decision Decision
}
