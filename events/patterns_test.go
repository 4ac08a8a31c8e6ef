package events

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"secbot/remediation/playbooks"
)

// matching gives the names of the patterns that an EventBridge event matches.
func matching(t *testing.T, raw []byte) []string {
	t.Helper()
	event, names := anyOf(t, raw), []string{}
	for _, p := range Patterns() {
		pattern, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if matches(anyOf(t, pattern), event) {
			names = append(names, p.Name)
		}
	}
	return names
}

func anyOf(t *testing.T, raw []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	return v
}

// matches is what EventBridge does, as far as Patterns use it: every member of an
// object must match, one of a pattern's list, and any of an event's list.
func matches(pattern, event any) bool {
	if list, ok := event.([]any); ok {
		return slices.ContainsFunc(list, func(e any) bool { return matches(pattern, e) })
	}
	if list, ok := pattern.([]any); ok {
		return slices.ContainsFunc(list, func(p any) bool { return matchesValue(p, event) })
	}
	members, _ := event.(map[string]any)
	for name, p := range pattern.(map[string]any) { //nolint:forcetypeassert // a pattern has nothing else
		if !matches(p, members[name]) {
			return false
		}
	}
	return true
}

func matchesValue(pattern, value any) bool {
	operator, ok := pattern.(map[string]any)
	if !ok {
		return pattern == value
	}
	if want, ok := operator["exists"]; ok {
		return want == (value != nil)
	}
	text, _ := value.(string)
	prefix, ok := operator["prefix"].(string)
	return ok && strings.HasPrefix(text, prefix)
}

// asDelivered is an event as EventBridge delivers it, also where a fixture is only
// the CloudTrail record, or what is around it was made illegible.
func asDelivered(t *testing.T, e event) []byte {
	t.Helper()
	source, kind := string(e.Source), string(e.DetailType)
	if !ofAWS(source) {
		source = "aws.s3"
	}
	if lenient[object](e.Detail).has("eventName") {
		kind = apiCall
	}
	raw, err := json.Marshal(map[string]any{"source": source, "detail-type": kind, "detail": e.Detail})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestPatternsMatchWhatIsAnswered: whatever fixture yields signals, EventBridge
// would have delivered; and of what can't be read, nothing that AWS sends.
func TestPatternsMatchWhatIsAnswered(t *testing.T) {
	docs := map[string][]byte{}
	for file, f := range fixtures(t) {
		docs[file] = []byte(f[0])
	}
	for doc := range Documents(nil, []string{"../../shared/events"}) {
		if raw, err := os.ReadFile(doc.File); err == nil {
			docs[doc.File] = raw
		}
	}
	answered, left := 0, 0
	for file, raw := range docs {
		for _, e := range delivered(raw) {
			switch r, names := decodeAny(e), matching(t, asDelivered(t, e)); {
			case len(r.Signals) > 0 && len(names) != 1:
				t.Errorf("%s: %s yields signals and matches %v", file, r.Kind, names)
			case len(r.Signals) > 0:
				answered++
			case len(names) == 0:
				left++
			}
		}
	}
	if answered < 40 || left < 40 {
		t.Errorf("%d events were answered and %d left where they are", answered, left)
	}
}

// delivered are the events in raw out of their envelopes.
func delivered(raw []byte) []event {
	var found []event
	u := unwrapper{each: func(e event) { found = append(found, e) }}
	u.unwrap(raw, 0)
	return found
}

// TestPatternsNameWhatPlaybooksHandle: no more and no less.
func TestPatternsNameWhatPlaybooksHandle(t *testing.T) {
	var delivered, handled []string
	for _, p := range Patterns() {
		if p.Detail.EventName == nil {
			delivered = append(delivered, p.DetailType...)
		}
		delivered = append(delivered, p.Detail.EventName...)
	}
	for _, m := range playbooks.Metas() {
		handled = append(handled, m.Handles...)
	}
	if got, want := union(delivered, nil), union(handled, nil); !slices.Equal(got, want) {
		t.Errorf("delivered %q, handled %q", got, want)
	}
}

// TestOthersCannotSendEvents: an event that a member puts on the bus itself matches
// nothing.
func TestOthersCannotSendEvents(t *testing.T) {
	for source, want := range map[string]int{"aws.s3": 1, "com.mallory": 0, "aws": 0} {
		raw := []byte(`{"source":"` + source + `","detail-type":"AWS API Call via CloudTrail","detail":{"eventSource":"s3.amazonaws.com","eventName":"PutBucketAcl"}}`)
		if names := matching(t, raw); len(names) != want {
			t.Errorf("from %s: %v", source, names)
		}
	}
}
