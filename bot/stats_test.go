package bot

import (
	"bytes"
	"errors"
	"image/png"
	"regexp"
	"strings"
	"testing"
	"time"

	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// TestStatsCommand: the numbers at once, and the wish for the picture stored.
func TestStatsCommand(t *testing.T) {
	r := newRig(t)
	r.handler.Now = func() time.Time { return at(30) }
	r.save(numbered(1, opened()), numbered(2, opened(), step(remediation.StatusFixing, remediation.ByItself, ""), step(remediation.StatusFixed, remediation.ByItself, "")))
	got := r.typed("stats")
	for _, want := range []string{"2 findings in 30 days", "2 high", "1 fixed by secbot itself", "the one fix took 3 min", "Waiting for a decision:* 1", "Risky security group rule 2", "direct message"} {
		if !strings.Contains(got, want) {
			t.Errorf("the answer lacks %q: %s", want, got)
		}
	}
	cmds := r.engine.commands()
	if len(cmds) != 1 || cmds[0].Verb != remediation.VerbStats || cmds[0].ReplyTo.User != fakeslack.Alice || cmds[0].Incident != "" {
		t.Errorf("submitted %+v", cmds)
	}
	r.engine.err = errors.New("the store is gone")
	if got := r.typed("stats"); !strings.Contains(got, "2 findings") || !strings.Contains(got, "could not be stored") {
		t.Errorf("where the wish can't be stored: %s", got)
	}
	r.handler.Store = sick{r.store}
	if got := r.typed("stats"); !strings.Contains(got, "could not read its store") {
		t.Errorf("where nothing can be read: %s", got)
	}
}

// shared is the one file that is shared, with its message.
func (r *rig) shared(channel string) (fakeslack.File, fakeslack.Message) {
	r.t.Helper()
	files, messages := r.slack.Files(), r.slack.Messages(channel)
	if len(files) != 1 || len(messages) != 1 || len(messages[0].Files) != 1 || messages[0].Files[0] != files[0].ID {
		r.t.Fatalf("%d files; messages %+v", len(files), messages)
	}
	return files[0], messages[0]
}

func TestStatsAreUploaded(t *testing.T) {
	for name, c := range map[string]struct {
		user, channel, at string
	}{
		"to a person":      {fakeslack.Dana, "", fakeslack.DirectID(fakeslack.Dana)},
		"to a named one":   {"", "#security", fakeslack.ChannelSecurity},
		"to the usual one": {"", "", fakeslack.ChannelSecurity},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if c.channel != "" {
				r.notifier.Channel = c.channel
			}
			if err := r.notify(remediation.OpStats, 1, remediation.StatsReport{Stats: *month(), User: c.user}); err != nil {
				t.Fatal(err)
			}
			file, m := r.shared(c.at)
			if _, err := png.Decode(bytes.NewReader(file.Content)); err != nil || file.Name != "secbot-2025-04-01.png" || file.Title != "58 findings in 30 days" {
				t.Errorf("%s, %s: %v", file.Name, file.Title, err)
			}
			for _, want := range []string{"*58 findings in 30 days*", "half of 50 fixes within 3.2 s", "&lt;unknown&gt; 8"} {
				if !strings.Contains(m.Text, want) {
					t.Errorf("the message lacks %q: %s", want, m.Text)
				}
			}
		})
	}
}

// TestStatsAreUploadedOnce: whatever goes wrong at whatever call, one picture
// comes, and only one.
func TestStatsAreUploadedOnce(t *testing.T) {
	for _, method := range []string{"files.getUploadURLExternal", "upload", "files.completeUploadExternal"} {
		for name, fault := range map[string]fakeslack.Fault{"refused": {Error: "internal_error"}, "without an answer": {AfterEffect: true}} {
			t.Run(method+" "+name, func(t *testing.T) {
				r := newRig(t)
				failed := false
				r.slack.Fault(func(c fakeslack.Call) *fakeslack.Fault {
					if failed || c.Method != method {
						return nil
					}
					failed = true
					return &fault
				})
				report := remediation.StatsReport{Stats: *month()}
				err := r.notify(remediation.OpStats, 1, report)
				if err == nil || errors.Is(err, remediation.ErrUndeliverable) || strings.Contains(err.Error(), "/upload/") {
					t.Fatalf("the first attempt ends with %v", err)
				}
				for attempt := range 2 { // the second finds that it is done
					if err := r.notify(remediation.OpStats, 2+attempt, report); err != nil {
						t.Fatal(err)
					}
				}
				r.shared(fakeslack.ChannelSecurity)
			})
		}
	}
}

// TestUploadIsNoMethod: the URL of an upload, which whoever has it may write to, and of
// which there is another for each file, is no label of the metrics.
func TestUploadIsNoMethod(t *testing.T) {
	r := newRig(t)
	calls := NewCalls()
	r.notifier.Client = NewClient(r.slack.Token(), r.slack.APIURL(), calls)
	if err := r.notify(remediation.OpStats, 1, remediation.StatsReport{Stats: *month()}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	calls.WriteMetrics(&b)
	known := regexp.MustCompile(`(?m)^secbot_slack_calls_total\{method="(upload|[a-z]+\.[A-Za-z.]+)",result="ok"\} \d+$`)
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")[2:]
	for _, line := range lines {
		if !known.MatchString(line) {
			t.Errorf("a label of its own: %s", line)
		}
	}
	if !strings.Contains(b.String(), `method="upload"`) {
		t.Errorf("the upload is not counted:\n%s", b.String())
	}
}

// TestStatsWithoutPicture: where Slack takes no file the numbers come, once, and
// say what to do.
func TestStatsWithoutPicture(t *testing.T) {
	r := newRig(t)
	r.slack.Fault(func(c fakeslack.Call) *fakeslack.Fault {
		if strings.HasPrefix(c.Method, "files.") {
			return &fakeslack.Fault{Error: "file_uploads_disabled"}
		}
		return nil
	})
	for attempt := range 2 {
		if err := r.notify(remediation.OpStats, 1+attempt, remediation.StatsReport{Stats: *month()}); err != nil {
			t.Fatal(err)
		}
	}
	if m := r.only(); m.Text != "58 findings in 30 days" || !strings.Contains(string(m.Blocks), "takes no files") {
		t.Errorf("%s: %s", m.Text, m.Blocks)
	}
	if got := pictureHint("files:write"); !strings.Contains(got, "`files:write`") {
		t.Errorf("the hint is %q", got)
	}
}

// TestChartFromHome: the button of the home has the picture sent to who pressed it.
func TestChartFromHome(t *testing.T) {
	l := newLive(t, remediation.ActionAsk)
	l.shows("waits for a decision")
	if err := l.handler.publishHome(t.Context(), fakeslack.Mallory); err != nil {
		t.Fatal(err)
	}
	l.pressHome(fakeslack.Mallory, "stats")
	l.writtenTo(fakeslack.Mallory, "1 finding in 30 days")
	l.shared(fakeslack.DirectID(fakeslack.Mallory))
}
