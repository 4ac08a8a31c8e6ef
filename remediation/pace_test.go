package remediation_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"secbot/remediation"
)

// posts puts n notices of incidents of their own into the outbox.
func (l *lab) posts(channel string, n int) {
	l.t.Helper()
	for i := range n {
		id := fmt.Sprintf("%s-%d", channel, i)
		inc := &remediation.Incident{ID: id, Key: id, Status: remediation.StatusOpen, CreatedAt: l.clock(), UpdatedAt: l.clock(),
			Finding: remediation.Finding{Playbook: "toy", Resource: ref("h")}}
		notice := &remediation.Notice{ID: id + "/1", Incident: id, Seq: 1, To: remediation.NotifySlack, Op: remediation.OpMessage,
			Channel: channel, Due: l.clock(), CreatedAt: l.clock()}
		if err := l.store.Commit(l.t.Context(), remediation.Write{Incident: inc, Notices: []*remediation.Notice{notice}}); err != nil {
			l.t.Fatal(err)
		}
	}
}

// sentAfter drains each second and tells how many messages were out after each.
func (l *lab) sentAfter(seconds int) (sent []int) {
	l.t.Helper()
	for range seconds {
		if err := l.engine.Drain(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
		sent = append(sent, l.slack.count(remediation.OpMessage))
		l.advance(time.Second)
	}
	return sent
}

// TestPace: a burst goes out at once, the rest by the second, each in its turn,
// and another channel has a pace of its own.
func TestPace(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Burst = 3 })
	l.posts("C1", 8)
	l.posts("C2", 2)
	if got, want := fmt.Sprint(l.sentAfter(6)), "[6 7 8 9 10 10]"; got != want {
		t.Errorf("messages out after each second: %s, want %s", got, want)
	}
	for _, n := range l.slack.got {
		if n.Attempts != 1 {
			t.Errorf("notice %s was sent in attempt %d: waiting for its turn is none", n.ID, n.Attempts)
		}
	}
}

// TestPauseOfAChannel: where Slack asks for a pause the whole channel keeps it,
// and no other does.
func TestPauseOfAChannel(t *testing.T) {
	l := newLab(t, func(o *remediation.Options) { o.Burst, o.Workers = 3, 1 })
	asked := map[string]int{}
	l.slack.fail = func(n remediation.Notice) error {
		asked[n.Channel]++
		if n.Channel == "C1" && asked["C1"] == 1 {
			return &remediation.RetryError{After: 5 * time.Second, Err: errors.New("429")}
		}
		return nil
	}
	l.posts("C1", 4)
	l.posts("C2", 1)
	if got, want := fmt.Sprint(l.sentAfter(8)), "[1 1 1 1 1 5 5 5]"; got != want {
		t.Errorf("messages out after each second: %s, want %s", got, want)
	}
	if asked["C1"] != 5 {
		t.Errorf("Slack was asked %d times about C1: once in vain, then once for each", asked["C1"])
	}
}
