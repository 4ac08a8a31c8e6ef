package remediation_test

import (
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"secbot/internal/awsenv"
	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
)

// withMachines is a lab with Step Functions, of which the policy lists one state
// machine that is started after each fix of the front door.
func withMachines(t *testing.T) (*lab, *fakeaws.AWS, string) {
	t.Helper()
	var l *lab
	clouds := fakeaws.New(fakeaws.Options{Now: func() time.Time { return l.clock() }})
	srv := httptest.NewServer(clouds)
	t.Cleanup(srv.Close)
	machine := clouds.AddStateMachine("quarantine")
	cfg := aws.Config{Region: clouds.Region(), BaseEndpoint: aws.String(srv.URL), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIA", "s", "")}
	l = newLab(t, func(o *remediation.Options) { o.Machines = awsenv.NewMachines(cfg) })
	l.config.StateMachines = []remediation.StateMachine{{Name: "quarantine", ARN: machine, Timeout: time.Hour, Approvers: []string{"U1", "U2"}, Channel: "C2"}}
	l.config.Rules[0].StateMachine = "quarantine"
	return l, clouds, machine
}

// eventually waits for the only incident's run to stand so. The clock goes on
// meanwhile, but for what begins by itself.
func (l *lab) eventually(want remediation.RunStatus) (inc *remediation.Incident) {
	l.t.Helper()
	l.until("the run is "+string(want), func() bool {
		list := l.incidents()
		if len(list) != 1 {
			return false
		}
		if inc = list[0]; want != remediation.RunRunning {
			l.advance(50 * time.Millisecond)
		}
		return inc.Run != nil && inc.Run.Status == want
	})
	return inc
}

func (l *lab) audited(inc *remediation.Incident) []string {
	l.t.Helper()
	log, err := l.store.Audit(l.t.Context(), inc.ID)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := remediation.VerifyAudit(inc, log); err != nil {
		l.t.Error(err)
	}
	var what []string
	for _, e := range log {
		what = append(what, e.What)
	}
	return what
}

// TestRunAfterAFix: it is started once, with the names of things alone, after the
// read-back, and its end is told; whoever asks AWS first, an event or the clock.
func TestRunAfterAFix(t *testing.T) {
	for name, tell := range map[string]func(l *lab, execution string) error{
		"the clock": func(l *lab, _ string) error { l.advance(10 * time.Second); return nil },
		"an event": func(l *lab, execution string) error {
			return l.engine.AcceptRun(l.t.Context(), remediation.RunEvent{EventID: "e", Execution: execution})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, clouds, machine := withMachines(t)
			l.doors.set("h", "front")
			l.start()
			l.accept(signal("e1", "h", "front"))
			inc := l.eventually(remediation.RunRunning)
			all := clouds.Executions()
			if len(all) != 1 || all[0].Machine != machine || all[0].ARN != inc.Run.Execution || inc.Status != remediation.StatusFixed {
				t.Fatalf("executions %+v, incident %s %+v", all, inc.Status, inc.Run)
			}
			want := `{"incident":"` + inc.ID + `","finding":"toy","resource":"h","kind":"security-group","account":"111122223333","region":"us-east-1","severity":"high","fixed":true}`
			if diff := cmp.Diff(want, all[0].Input); diff != "" {
				t.Errorf("its input (-want +got):\n%s", diff)
			}
			clouds.EndExecution(inc.Run.Execution, "SUCCEEDED", "", "")
			if err := tell(l, inc.Run.Execution); err != nil {
				t.Fatal(err)
			}
			inc = l.eventually(remediation.RunSucceeded)
			l.advance(time.Hour)
			l.settled()
			if len(clouds.Executions()) != 1 || inc.Status != remediation.StatusFixed {
				t.Errorf("%d executions, the incident is %s", len(clouds.Executions()), inc.Status)
			}
			for _, want := range []string{"is to start state machine quarantine", "started state machine quarantine", "state machine quarantine succeeded"} {
				if got := l.audited(inc); !slices.Contains(got, want) {
					t.Errorf("the audit log lacks %q: %q", want, got)
				}
			}
		})
	}
}

// TestRunIsStartedOnce: where the answer of AWS got lost it is asked again under the
// same name, which finds the execution, also where it has ended by then.
func TestRunIsStartedOnce(t *testing.T) {
	for name, ended := range map[string]bool{"it runs": false, "it has ended": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, clouds, _ := withMachines(t)
			l.doors.set("h", "front")
			befall(clouds, "StartExecution", 1, fakeaws.Fault{Drop: true, After: true})
			l.start()
			l.accept(signal("e1", "h", "front"))
			l.until("it is started", func() bool { return len(clouds.Executions()) == 1 && len(l.jobs(l.clock().Add(time.Minute))) == 1 })
			want := remediation.RunRunning
			if ended {
				clouds.EndExecution(clouds.Executions()[0].ARN, "FAILED", "States.TaskFailed", "no such instance")
				want = remediation.RunFailed
			}
			l.until("the second attempt is through", func() bool {
				l.advance(time.Second)
				inc := l.incidents()[0]
				return inc.Run.Status == want
			})
			starts := 0
			for _, c := range clouds.Calls() {
				if c.Action == "StartExecution" {
					starts++
				}
			}
			if len(clouds.Executions()) != 1 || starts != 2 {
				t.Errorf("%d executions after %d calls", len(clouds.Executions()), starts)
			}
		})
	}
}

// befall has the first n calls of an action fail.
func befall(clouds *fakeaws.AWS, action string, n int, f fakeaws.Fault) {
	var left atomic.Int64
	left.Store(int64(n))
	clouds.Fault(func(c fakeaws.Call) *fakeaws.Fault {
		if c.Action == action && left.Add(-1) >= 0 {
			return &f
		}
		return nil
	})
}

// TestRunThatFails: it is told with the reason, the people are called, and the fix
// stands for itself.
func TestRunThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(l *lab, clouds *fakeaws.AWS)
		then    func(l *lab, clouds *fakeaws.AWS)
		want    remediation.RunStatus
		why     string
		starts  int
	}{
		"in AWS": {
			then: func(l *lab, clouds *fakeaws.AWS) {
				clouds.EndExecution(clouds.Executions()[0].ARN, "FAILED", "States.TaskFailed", "no such instance")
			},
			want: remediation.RunFailed, why: "failed: States.TaskFailed: no such instance", starts: 1,
		},
		"aborted": {
			then: func(l *lab, clouds *fakeaws.AWS) { clouds.EndExecution(clouds.Executions()[0].ARN, "ABORTED", "", "") },
			want: remediation.RunFailed, why: "aborted", starts: 1,
		},
		"it takes too long": {
			then: func(l *lab, _ *fakeaws.AWS) { l.advance(2 * time.Hour) },
			want: remediation.RunLate, why: "it had not ended by 2026-03-01 13:00 UTC, and goes on", starts: 1,
		},
		"it can't be looked at": {
			prepare: func(_ *lab, clouds *fakeaws.AWS) {
				befall(clouds, "DescribeExecution", 1000, fakeaws.Fault{Code: "AccessDeniedException"})
			},
			then: func(l *lab, _ *fakeaws.AWS) { l.advance(2 * time.Hour) },
			want: remediation.RunLate, why: "how it stands could not be read: AccessDeniedException: AWS refused SFN DescribeExecution", starts: 1,
		},
		"it may not be started": {
			prepare: func(_ *lab, clouds *fakeaws.AWS) {
				befall(clouds, "StartExecution", 1000, fakeaws.Fault{Code: "AccessDeniedException"})
			},
			want: remediation.RunRefused, why: "AccessDeniedException: AWS refused SFN StartExecution, for which secbot's role needs states:StartExecution",
		},
		"it is an express one": {
			prepare: func(l *lab, clouds *fakeaws.AWS) { clouds.MakeExpress(l.config.StateMachines[0].ARN) },
			want:    remediation.RunLate, why: "it was started as an express one", starts: 1,
		},
		"it is gone": {
			prepare: func(l *lab, _ *fakeaws.AWS) { l.config.StateMachines[0].ARN += "-gone" },
			want:    remediation.RunRefused, why: "StateMachineDoesNotExist",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, clouds, _ := withMachines(t)
			l.doors.set("h", "front")
			if c.prepare != nil {
				c.prepare(l, clouds)
			}
			l.start()
			l.accept(signal("e1", "h", "front"))
			if c.then != nil {
				l.eventually(remediation.RunRunning)
				c.then(l, clouds)
				l.advance(10 * time.Second)
			}
			inc := l.eventually(c.want)
			if inc.Status != remediation.StatusFixed || !strings.Contains(inc.Run.Error, c.why) || len(clouds.Executions()) != c.starts {
				t.Errorf("the incident is %s, %d executions, and the run failed of %q", inc.Status, len(clouds.Executions()), inc.Run.Error)
			}
			l.settled()
			if n := l.slack.sent(); !strings.Contains(string(n[len(n)-1].Payload), c.why[:min(len(c.why), 20)]) {
				t.Errorf("nobody is called: %s", n[len(n)-1].Payload)
			}
		})
	}
}

// TestRunNobodyWants: where the mode, a pause, an undo or the policy is against it,
// nothing is started.
func TestRunNobodyWants(t *testing.T) {
	for name, f := range map[string]func(l *lab){
		"the policy names none":        func(l *lab) { l.config.Rules[0].StateMachine = "" },
		"mode observe":                 func(l *lab) { l.config.Mode = remediation.ModeObserve },
		"nobody has decided yet":       func(l *lab) { l.config.Mode = remediation.ModeAsk },
		"secbot can't fix it, and ask": func(l *lab) { l.config.Mode = remediation.ModeAsk; l.doors.irreversible = "it can't be shut" },
		"secbot can't fix it, and observes": func(l *lab) {
			l.config.Mode = remediation.ModeObserve
			l.doors.irreversible = "it can't be shut"
		},
		"secbot can't fix it, and isn't sure": func(l *lab) { l.doors.doubt, l.doors.irreversible = "perhaps", "it can't be shut" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, clouds, _ := withMachines(t)
			l.doors.set("h", "front")
			f(l)
			l.start()
			l.accept(signal("e1", "h", "front"))
			l.settled()
			if len(clouds.Executions()) != 0 || len(l.incidents()) != 1 {
				t.Errorf("%d executions, %d incidents", len(clouds.Executions()), len(l.incidents()))
			}
		})
	}
}

// TestRunAfterAPersonsFix: what the policy asks about is run once somebody has
// decided.
func TestRunAfterAPersonsFix(t *testing.T) {
	l, clouds, _ := withMachines(t)
	l.config.Mode = remediation.ModeAsk
	l.doors.set("h", "front")
	l.start()
	l.accept(signal("e1", "h", "front"))
	inc := l.one(remediation.StatusOpen)
	l.submit(remediation.Command{ID: "c1", Verb: remediation.VerbFix, Incident: inc.ID, By: "U1"})
	if l.eventually(remediation.RunRunning); len(clouds.Executions()) != 1 {
		t.Errorf("%d executions", len(clouds.Executions()))
	}
}

// TestRunAsTheResponse: what secbot can't take back itself, and the policy would have
// closed by itself, a state machine is started for at once. That it has succeeded
// closes nothing: a look at the resource does.
func TestRunAsTheResponse(t *testing.T) {
	for name, c := range map[string]struct {
		open []string // doors that the state machine leaves open
		want remediation.Status
	}{"it has closed it": {nil, remediation.StatusResolved}, "it has not": {[]string{"front"}, remediation.StatusOpen}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, clouds, _ := withMachines(t)
			l.doors.irreversible = "it can't be shut"
			l.doors.set("h", "front")
			l.start()
			l.accept(signal("e1", "h", "front"))
			inc := l.eventually(remediation.RunRunning)
			if inc.Status != remediation.StatusOpen || !strings.Contains(clouds.Executions()[0].Input, `"fixed":false`) {
				t.Fatalf("the incident is %s, the input %s", inc.Status, clouds.Executions()[0].Input)
			}
			l.doors.set("h", c.open...)
			clouds.EndExecution(inc.Run.Execution, "SUCCEEDED", "", "")
			l.advance(10 * time.Second)
			if inc = l.eventually(remediation.RunSucceeded); inc.Status != remediation.StatusOpen {
				t.Errorf("the incident is %s before anybody has looked", inc.Status)
			}
			l.advance(2 * time.Minute)
			l.until("the resource was looked at", func() bool {
				job, err := l.store.Job(t.Context(), "reconcile/run/"+inc.Run.Name)
				return err == nil && job.Done
			})
			if got := l.incidents()[0].Status; got != c.want {
				t.Errorf("the incident is %s, want %s", got, c.want)
			}
			if len(l.doors.changes()) != 0 {
				t.Errorf("secbot itself has changed %v", l.doors.changes())
			}
		})
	}
}

// TestRunWaitsForTheEndOfAPause: nothing is started while secbot is paused.
func TestRunWaitsForTheEndOfAPause(t *testing.T) {
	l, clouds, _ := withMachines(t)
	l.doors.set("h", "front")
	befall(clouds, "StartExecution", 1, fakeaws.Fault{Code: "ThrottlingException"})
	l.start()
	l.accept(signal("e1", "h", "front"))
	l.until("it was tried", func() bool { return len(clouds.Calls()) == 1 })
	l.submit(remediation.Command{ID: "p", Verb: remediation.VerbPause, By: "U1"})
	l.until("it is paused", func() bool {
		c, err := remediation.ReadControl(t.Context(), l.store)
		return err == nil && c.Paused != nil
	})
	l.until("it waits", func() bool {
		l.advance(100 * time.Millisecond)
		jobs := l.jobs(l.clock().Add(time.Hour))
		return len(jobs) == 1 && strings.Contains(jobs[0].Error, "paused")
	})
	if len(clouds.Executions()) != 0 {
		t.Fatal("it was started all the same")
	}
	l.submit(remediation.Command{ID: "r", Verb: remediation.VerbResume, By: "U1"})
	l.until("it is started", func() bool {
		l.advance(time.Second)
		return len(clouds.Executions()) == 1
	})
}

// TestRunHeedsTheMode: what would be started as the response, and could not be yet, is
// not started once people have set that secbot changes nothing unasked.
func TestRunHeedsTheMode(t *testing.T) {
	l, clouds, _ := withMachines(t)
	l.doors.irreversible = "it can't be shut"
	l.doors.set("h", "front")
	befall(clouds, "StartExecution", 1, fakeaws.Fault{Code: "ThrottlingException"})
	l.start()
	l.accept(signal("e1", "h", "front"))
	l.until("it was tried", func() bool { return len(clouds.Calls()) == 1 })
	l.submit(remediation.Command{ID: "m", Verb: remediation.VerbMode, By: "U1", Scope: "ask all"})
	l.until("the mode is ask", func() bool {
		c, err := remediation.ReadControl(t.Context(), l.store)
		return err == nil && len(c.Modes) == 1
	})
	inc := l.eventually(remediation.RunRefused)
	if inc.Status != remediation.StatusOpen || len(clouds.Executions()) != 0 || !strings.Contains(inc.Run.Error, "does not start it by itself any more") {
		t.Errorf("%d executions, the incident is %s, its run %+v", len(clouds.Executions()), inc.Status, inc.Run)
	}
}

// TestForeignExecutions: events of executions that secbot has not started change
// nothing, whatever they are called.
func TestForeignExecutions(t *testing.T) {
	l, clouds, machine := withMachines(t)
	l.doors.set("h", "front")
	l.start()
	l.accept(signal("e1", "h", "front"))
	inc := l.eventually(remediation.RunRunning)
	calls := len(clouds.Calls())
	for _, execution := range []string{"", ":", "x", remediation.ExecutionARN(machine, "mine"), remediation.ExecutionARN(machine, "secbot-"),
		remediation.ExecutionARN(machine, "secbot-"+inc.ID), remediation.ExecutionARN(machine, "secbot-"+inc.ID+"-99"),
		remediation.ExecutionARN(machine+"-other", inc.Run.Name), remediation.ExecutionARN(machine, "secbot-nobody-3")} {
		var refused *remediation.RefusedError
		if err := l.engine.AcceptRun(t.Context(), remediation.RunEvent{EventID: "x", Execution: execution}); !errors.As(err, &refused) {
			t.Errorf("%q: %v", execution, err)
		}
	}
	if n := len(clouds.Calls()); n != calls {
		t.Errorf("%d calls were made", n-calls)
	}
}
