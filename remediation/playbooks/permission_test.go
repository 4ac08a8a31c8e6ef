package playbooks_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"secbot/internal/awsenv"
	"secbot/internal/sandbox/fakeaws"
	"secbot/remediation"
	"secbot/remediation/notify"
	"secbot/remediation/playbooks"
	"secbot/remediation/store/memory"
)

// secbotOn is a world whose playbooks and readers call with a key of their own;
// the rest of it stays a person who may do everything.
func secbotOn(t *testing.T, b backend, cfg aws.Config) (person, secbot *world) {
	t.Helper()
	person = newWorld(t, b)
	limited := *person
	limited.clients = playbooks.NewClients(cfg, b.account, testRegion)
	limited.readers, limited.playbooks = playbooks.Readers(limited.clients), playbooks.All(limited.clients)
	return person, &limited
}

// wholeWay takes one case from the reading of the resource to the undo, with
// secbot's credentials, and gives what went wrong or is missing.
func wholeWay(t *testing.T, person, secbot *world, c contractCase) (problems []string) {
	ref, sig := c.setup(t, person)
	complain := func(what string, err error) bool {
		if err != nil {
			problems = append(problems, what+": "+err.Error())
		}
		return err != nil
	}
	reader := secbot.readers[ref.Kind]
	for _, err := range reader.List(secbot.ctx) {
		complain("list", err)
	}
	bare := ref
	bare.Region = ""
	before, err := reader.Read(secbot.ctx, bare)
	if complain("read", err) && (before == nil || !errors.Is(err, remediation.ErrGone)) {
		return problems
	}
	problems = slices.DeleteFunc(problems, func(s string) bool { return strings.Contains(s, remediation.ErrGone.Error()) })
	problems = append(problems, unseen(before)...)
	if h, ok := reader.(remediation.Historian); ok {
		raw, err := json.Marshal(h.Recall(secbot.ctx, before, sig, nil)) // nothing is kept: AWS Config is asked
		complain("recall", err)
		if strings.Contains(string(raw), "config:GetResourceConfigHistory is not allowed") {
			problems = append(problems, "config:GetResourceConfigHistory")
		}
	}
	pb := secbot.playbook(c.playbook)
	findings := pb.Judge(person.recall(before, sig), &sig)
	if len(findings) != 1 {
		return append(problems, fmt.Sprintf("found %+v", findings))
	}
	plan, err := pb.Plan(before, findings[0])
	if complain("plan", err) {
		return problems
	}
	var done []remediation.Outcome
	for i, step := range plan.Steps {
		o, err := pb.Apply(secbot.ctx, step)
		if complain("apply", err) {
			return problems
		}
		o.Step = i
		done = append(done, o)
	}
	complain("verify", pb.Verify(secbot.ctx, plan, done))
	complain("undo", pb.Undo(secbot.ctx, plan, done))
	return problems
}

// unseen are the parts of a state that secbot might not see.
func unseen(s remediation.State) []string {
	switch s := s.(type) {
	case *playbooks.BucketState:
		if s.AccountBlockUnread != "" {
			return []string{s.AccountBlockUnread}
		}
	case *playbooks.GroupState:
		if s.Use.Unread != "" {
			return []string{s.Use.Unread}
		}
		for _, l := range s.Lists {
			if l.Unread != "" {
				return []string{l.Unread}
			}
		}
	}
	return nil
}

// farBucket is in another region than everything else.
const farBucket = "far-away"

// besides makes the calls that belong to no playbook.
func besides(t *testing.T, cfg aws.Config, topic string) (problems []string) {
	env := awsenv.New(cfg, awsenv.Member{})
	sig := remediation.Signal{Resource: remediation.Ref{Kind: remediation.KindBucket, Region: testRegion, ID: "b"}, ConfigRule: "public"}
	if err := env.Enrich(t.Context(), &sig); err != nil {
		problems = append(problems, err.Error())
	}
	st := memory.New()
	if err := st.Commit(t.Context(), remediation.Write{Incident: &remediation.Incident{ID: "i", Status: remediation.StatusFixed}}); err != nil {
		t.Fatal(err)
	}
	fixes := &notify.SNS{Topic: topic, Client: sns.NewFromConfig(cfg), Store: st}
	if err := fixes.Notify(t.Context(), remediation.Notice{Incident: "i"}); err != nil {
		problems = append(problems, err.Error())
	}
	// A bucket of which the event did not tell the region.
	far := remediation.Ref{Kind: remediation.KindBucket, ID: farBucket}
	if _, err := playbooks.Readers(playbooks.NewClients(cfg, "", testRegion))[far.Kind].Read(t.Context(), far); err != nil {
		problems = append(problems, err.Error())
	}
	return problems
}

func withKey(cfg aws.Config, key string) aws.Config {
	cfg.Credentials = credentials.NewStaticCredentialsProvider(key, "secret", "")
	return cfg
}

// allCases are those of every playbook.
func allCases() []contractCase {
	return slices.Concat(bucketCases(), accountCases(), groupCases(), removedCases(), modifiedCases(), wholeGroupCases())
}

// TestPolicySuffices: with the policy that `secbot iam-policy` prints every
// playbook goes its whole way, and without any one action of it something does
// not.
func TestPolicySuffices(t *testing.T) {
	t.Parallel()
	a := fakeaws.New(fakeaws.Options{Region: testRegion})
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	b := backend{url: srv.URL, account: a.Account(), enforces: true}
	a.AddConfigRule("public", "S3_BUCKET_PUBLIC_READ_PROHIBITED")
	topic := must(sns.NewFromConfig(awsConfig(b.url)).CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("fixes")}))(t).TopicArn
	must(newWorld(t, b).s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(farBucket),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-central-1"}}, func(o *s3.Options) { o.Region = "eu-central-1" }))(t)
	a.RecordGroups()
	try := func(t *testing.T, allowed []string, stopAtFirst bool) (problems []string) {
		a.AddCaller("AKIASECBOT", fakeaws.Caller{Role: "secbot", Allowed: allowed})
		cfg := withKey(awsConfig(b.url), "AKIASECBOT")
		problems = besides(t, cfg, *topic)
		for _, c := range allCases() {
			if len(problems) > 0 && stopAtFirst {
				break
			}
			// A case's resources bear the test's name: each needs one of its own.
			t.Run(c.name, func(t *testing.T) {
				person, secbot := secbotOn(t, b, cfg)
				problems = append(problems, wholeWay(t, person, secbot, c)...)
			})
		}
		return problems
	}
	actions := playbooks.Actions()
	t.Run("all", func(t *testing.T) {
		if problems := try(t, actions, false); len(problems) > 0 {
			t.Errorf("with the whole policy: %s", strings.Join(problems, "\n"))
		}
	})
	for _, action := range actions {
		t.Run("without "+action, func(t *testing.T) {
			rest := slices.DeleteFunc(slices.Clone(actions), func(x string) bool { return x == action })
			problems := try(t, rest, true)
			if len(problems) == 0 {
				t.Errorf("nothing needs %s", action)
			}
			if said := strings.Join(problems, "\n"); !strings.Contains(said, action) {
				t.Errorf("people are not told of %s: %s", action, said)
			}
		})
	}
}
