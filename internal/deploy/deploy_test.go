package deploy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"secbot/internal/deploy"
)

const body = `Parameters:
  Size: {Type: String, Default: "1", Description: How much}
  Name: {Type: String}
  Token: {Type: String, Default: "", NoEcho: true}
Resources:
  Key: {Type: "AWS::KMS::Key", DeletionPolicy: Retain}
  Table: {Type: "AWS::DynamoDB::Table", DeletionPolicy: RetainExceptOnCreate}
  Queue: {Type: "AWS::SQS::Queue"}
`

// cloud is CloudFormation at the network's edge, as far as it is used: a stack whose
// statuses follow one another, one a look.
type cloud struct {
	t         *testing.T
	status    []string // of the stack, the next first; the last stays; empty: there is none
	changeSet string   // its status, else CREATE_COMPLETE
	reason    string
	events    []string // "ID STATUS RESOURCE REASON", the newest first; shown once the stack is changed
	late      int      // at how many looks the change does not show yet
	began     bool

	outputsOnly bool     // the change set changes no resource
	set         bool     // there is a stack set
	operation   []string // the statuses of its operation, the next first; the last stays
	calls       []string
	forms       map[string]string // the last body of each call
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		c.t.Error(err)
	}
	call := r.Form.Get("Action")
	c.calls, c.forms[call] = append(c.calls, call), r.Form.Encode()
	answer := ""
	switch call {
	case "DescribeStacks":
		if len(c.status) == 0 {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `<ErrorResponse><Error><Code>ValidationError</Code><Message>Stack with id s does not exist</Message></Error></ErrorResponse>`)
			return
		}
		c.look()
		answer = "<Stacks><member><StackName>s</StackName><StackId>arn:s</StackId><StackStatus>" + c.status[0] + "</StackStatus>" +
			"<Parameters><member><ParameterKey>Name</ParameterKey><ParameterValue>n</ParameterValue></member></Parameters>" +
			"<Outputs><member><OutputKey>Url</OutputKey><OutputValue>https://u/</OutputValue></member></Outputs></member></Stacks>"
	case "CreateChangeSet":
		if len(c.status) == 0 {
			c.status = []string{"REVIEW_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"}
		}
		answer = "<Id>arn:c</Id><StackId>arn:s</StackId>"
	case "DescribeChangeSet":
		answer = "<Status>" + c.changeSet + "</Status><StatusReason>" + c.reason + "</StatusReason>"
		if c.outputsOnly {
			break
		}
		answer += "<Changes>" +
			"<member><Type>Resource</Type><ResourceChange><Action>Modify</Action><Replacement>True</Replacement><LogicalResourceId>Queue</LogicalResourceId><ResourceType>AWS::SQS::Queue</ResourceType></ResourceChange></member></Changes>"
	case "ExecuteChangeSet", "DeleteStack":
		c.began = true
	case "DescribeStackEvents":
		answer = "<StackEvents>"
		for _, e := range c.events {
			if part := strings.SplitN(e, " ", 4); c.began && c.late == 0 || part[0] == "old" {
				answer += fmt.Sprintf("<member><EventId>%s</EventId><ResourceStatus>%s</ResourceStatus><LogicalResourceId>%s</LogicalResourceId><ResourceStatusReason>%s</ResourceStatusReason><Timestamp>2026-03-04T05:06:07Z</Timestamp></member>", part[0], part[1], part[2], part[3])
			}
		}
		answer += "</StackEvents>"
	case "ListStackResources":
		answer = "<StackResourceSummaries>"
		for name, kind := range map[string]string{"Table": "AWS::DynamoDB::Table", "Queue": "AWS::SQS::Queue", "Key": "AWS::KMS::Key"} {
			answer += "<member><LogicalResourceId>" + name + "</LogicalResourceId><ResourceType>" + kind + "</ResourceType><PhysicalResourceId>the-" + strings.ToLower(name) + "</PhysicalResourceId></member>"
		}
		answer += "</StackResourceSummaries>"
	case "DescribeStackSet":
		if !c.set {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `<ErrorResponse><Error><Code>StackSetNotFoundException</Code><Message>none</Message></Error></ErrorResponse>`)
			return
		}
		answer = "<StackSet><StackSetName>s</StackSetName><Parameters><member><ParameterKey>Name</ParameterKey></member></Parameters></StackSet>"
	case "CreateStackSet", "UpdateStackSet", "CreateStackInstances", "DeleteStackInstances", "DeleteStackSet":
		answer = "<OperationId>" + call + "</OperationId>"
	case "DescribeStackSetOperation":
		answer = "<StackSetOperation><OperationId>o</OperationId><Action>CREATE</Action><Status>" + c.operation[0] + "</Status></StackSetOperation>"
		if len(c.operation) > 1 {
			c.operation = c.operation[1:]
		}
	case "ListStackSetOperationResults":
		answer = "<Summaries><member><Account>111122223333</Account><Region>us-east-1</Region><Status>FAILED</Status><StatusReason>no such bus</StatusReason></member>" +
			"<member><Account>444455556666</Account><Region>us-east-1</Region><Status>SUCCEEDED</Status></member></Summaries>"
	case "DeleteChangeSet":
	default:
		c.t.Errorf("an unexpected call: %s", call)
	}
	fmt.Fprintf(w, "<%[1]sResponse><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>", call, answer)
}

// look lets the stack come one status further.
func (c *cloud) look() {
	switch {
	case !c.began || len(c.status) < 2:
	case c.late > 0:
		c.late--
	default:
		c.status = c.status[1:]
	}
}

func (c *cloud) called(call string) bool { return slices.Contains(c.calls, call) }

// stackOn is a stack on that cloud; answer is what the person says.
func stackOn(t *testing.T, c *cloud, answer bool) (*deploy.Stack, *bytes.Buffer) {
	t.Helper()
	c.t, c.forms = t, map[string]string{}
	if c.changeSet == "" {
		c.changeSet = "CREATE_COMPLETE"
	}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	tmpl, err := deploy.ParseTemplate(body)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	return &deploy.Stack{
		Client: cloudformation.NewFromConfig(aws.Config{Region: "us-east-1", BaseEndpoint: &srv.URL, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}),
		Name:   "s", Template: tmpl, Out: &out,
		Ask:   func(string) (bool, error) { return answer, nil },
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		Now:   func() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) },
	}, &out
}

func nothing(context.Context) error { return nil }

func TestApplyTellsHowItGoes(t *testing.T) {
	c := &cloud{events: []string{"2 CREATE_COMPLETE Queue -", "1 CREATE_IN_PROGRESS Queue -", "old REVIEW_IN_PROGRESS s -"}}
	s, out := stackOn(t, c, true)
	got, err := s.Apply(t.Context(), map[string]string{"Name": "x"}, nothing)
	if err != nil || got["Url"] != "https://u/" {
		t.Fatalf("%v %v", got, err)
	}
	text := out.String()
	first, second := strings.Index(text, "CREATE_IN_PROGRESS"), strings.Index(text, "CREATE_COMPLETE")
	if !strings.Contains(text, "replace  Queue") || first < 0 || second < first || strings.Contains(text, "REVIEW_IN_PROGRESS") || strings.Count(text, "CREATE_COMPLETE") != 1 {
		t.Errorf("it tells\n%s", text)
	}
	if form := c.forms["CreateChangeSet"]; !strings.Contains(form, "ChangeSetType=CREATE") || !strings.Contains(form, "OnStackFailure=DELETE") {
		t.Errorf("it asks for %s", form)
	}
}

// TestApplyKeepsWhatIsNotNamed: above all the secrets, which nobody has at hand the
// next time.
func TestApplyKeepsWhatIsNotNamed(t *testing.T) {
	c := &cloud{status: []string{"UPDATE_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"}}
	s, _ := stackOn(t, c, true)
	if _, err := s.Apply(t.Context(), map[string]string{"Size": "2"}, nothing); err != nil {
		t.Fatal(err)
	}
	form := c.forms["CreateChangeSet"]
	if !strings.Contains(form, "ParameterKey=Name&Parameters.member.1.UsePreviousValue=true") || !strings.Contains(form, "ParameterKey=Size&Parameters.member.2.ParameterValue=2") {
		t.Errorf("it asks for %s", form)
	}
}

func TestApplyRefused(t *testing.T) {
	for name, c := range map[string]struct {
		cloud  *cloud
		undone string
	}{
		"a new stack": {&cloud{}, "DeleteStack"},
		"an old one":  {&cloud{status: []string{"CREATE_COMPLETE"}}, "DeleteChangeSet"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := stackOn(t, c.cloud, false)
			_, err := s.Apply(t.Context(), map[string]string{"Name": "x"}, func(context.Context) error {
				t.Error("it begins")
				return nil
			})
			if !errors.Is(err, deploy.ErrRefused) || c.cloud.called("ExecuteChangeSet") || !c.cloud.called(c.undone) {
				t.Errorf("%v after %q", err, c.cloud.calls)
			}
		})
	}
}

func TestApplyFails(t *testing.T) {
	for name, c := range map[string]struct {
		cloud *cloud
		given map[string]string
		want  string
	}{
		"rolled back": {&cloud{status: []string{"CREATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}, events: []string{
			"2 UPDATE_FAILED Table Resource update cancelled", "1 UPDATE_FAILED Queue no such key"}}, nil, "Queue: no such key"},
		"being changed":  {&cloud{status: []string{"UPDATE_IN_PROGRESS"}}, nil, "wait"},
		"of no use":      {&cloud{status: []string{"ROLLBACK_COMPLETE"}}, nil, "--destroy"},
		"a wrong plan":   {&cloud{status: []string{"CREATE_COMPLETE"}, changeSet: "FAILED", reason: "no such type"}, nil, "no such type"},
		"nothing given":  {&cloud{}, nil, "Name"},
		"cannot be done": {&cloud{status: []string{"CREATE_COMPLETE"}}, map[string]string{"fail": "x"}, "upload"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := stackOn(t, c.cloud, true)
			_, err := s.Apply(t.Context(), nil, func(context.Context) error {
				if c.given["fail"] != "" {
					return errors.New("upload")
				}
				return nil
			})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "cancelled") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestApplyOutputsAlone: a plan that changes no resource is carried out all the same.
func TestApplyOutputsAlone(t *testing.T) {
	c := &cloud{status: []string{"CREATE_COMPLETE", "UPDATE_COMPLETE"}, events: []string{"1 UPDATE_COMPLETE s -"}, outputsOnly: true}
	s, _ := stackOn(t, c, true)
	if _, err := s.Apply(t.Context(), nil, nothing); err != nil || !c.called("ExecuteChangeSet") {
		t.Errorf("%v after %q", err, c.calls)
	}
}

// TestApplyWaitsForTheBeginning: a change that does not show yet has not ended.
func TestApplyWaitsForTheBeginning(t *testing.T) {
	c := &cloud{late: 3, status: []string{"CREATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}, events: []string{"1 UPDATE_FAILED Queue no such key"}}
	s, _ := stackOn(t, c, true)
	if _, err := s.Apply(t.Context(), nil, nothing); err == nil || !strings.Contains(err.Error(), "no such key") {
		t.Errorf("%v", err)
	}
}

func TestApplyNothingToDo(t *testing.T) {
	c := &cloud{status: []string{"CREATE_COMPLETE"}, changeSet: "FAILED", reason: "The submitted information didn't contain changes."}
	s, out := stackOn(t, c, false)
	got, err := s.Apply(t.Context(), nil, nothing)
	if err != nil || got["Url"] == "" || !strings.Contains(out.String(), "as it should be") || !c.called("DeleteChangeSet") {
		t.Errorf("%v %v after %q\n%s", got, err, c.calls, out)
	}
}

func TestDestroy(t *testing.T) {
	c := &cloud{status: []string{"CREATE_COMPLETE", "DELETE_IN_PROGRESS", "DELETE_COMPLETE"}}
	s, out := stackOn(t, c, true)
	kept, err := s.Destroy(t.Context())
	if err != nil || len(kept) != 2 || !strings.Contains(kept[1].Remove(), "schedule-key-deletion") || kept[0].Remove() != "aws dynamodb delete-table --table-name the-table" {
		t.Errorf("%v %v", kept, err)
	}
	if text := out.String(); !strings.Contains(text, "goes   Queue") || !strings.Contains(text, "stays  Table") {
		t.Errorf("it tells\n%s", text)
	}
	refused := &cloud{status: []string{"CREATE_COMPLETE"}}
	s, _ = stackOn(t, refused, false)
	if _, err := s.Destroy(t.Context()); !errors.Is(err, deploy.ErrRefused) || refused.called("DeleteStack") {
		t.Errorf("%v after %q", err, refused.calls)
	}
	s, _ = stackOn(t, &cloud{}, true)
	if _, err := s.Destroy(t.Context()); !errors.Is(err, deploy.ErrNoStack) {
		t.Errorf("without a stack: %v", err)
	}
	failed := &cloud{status: []string{"CREATE_COMPLETE", "DELETE_FAILED"}, events: []string{"1 DELETE_FAILED Queue in use"}}
	s, _ = stackOn(t, failed, true)
	if _, err := s.Destroy(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("%v", err)
	}
}

func TestCheck(t *testing.T) {
	tmpl, err := deploy.ParseTemplate(body)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"Size": "", "Token": "secret", "Sise": "there are Name, Size, Token"} {
		if err := tmpl.Check(name); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// setOn is a stack set on that cloud.
func setOn(t *testing.T, c *cloud, answer bool) *deploy.StackSet {
	t.Helper()
	s, _ := stackOn(t, c, answer)
	return &deploy.StackSet{Stack: s, Units: []string{"ou-abcd-11111111"}, Regions: []string{"us-east-1", "eu-central-1"}}
}

func TestStackSet(t *testing.T) {
	for name, c := range map[string]struct {
		cloud *cloud
		first string
	}{
		"new": {&cloud{operation: []string{"RUNNING", "SUCCEEDED"}}, "CreateStackSet"},
		"old": {&cloud{operation: []string{"RUNNING", "SUCCEEDED"}, set: true}, "UpdateStackSet"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := setOn(t, c.cloud, true).Apply(t.Context(), map[string]string{"Name": "n"}); err != nil || !c.cloud.called(c.first) {
				t.Fatalf("%v after %q", err, c.cloud.calls)
			}
			form := c.cloud.forms["CreateStackInstances"]
			if !strings.Contains(form, "OrganizationalUnitIds.member.1=ou-abcd-11111111") || !strings.Contains(form, "RegionOrder.member.1=us-east-1") || !strings.Contains(form, "RegionConcurrencyType=SEQUENTIAL") {
				t.Errorf("it asks for %s", form)
			}
		})
	}
	form := func(c *cloud) string {
		if err := setOn(t, c, true).Apply(t.Context(), map[string]string{"Name": "n"}); err != nil {
			t.Fatal(err)
		}
		return c.forms["CreateStackSet"]
	}(&cloud{operation: []string{"SUCCEEDED"}})
	if !strings.Contains(form, "PermissionModel=SERVICE_MANAGED") || !strings.Contains(form, "AutoDeployment.Enabled=true") {
		t.Errorf("it asks for %s", form)
	}
}

func TestStackSetEnds(t *testing.T) {
	c := &cloud{operation: []string{"SUCCEEDED"}, set: true}
	if err := setOn(t, c, true).Destroy(t.Context()); err != nil || !c.called("DeleteStackSet") {
		t.Errorf("%v after %q", err, c.calls)
	}
	failed := &cloud{operation: []string{"FAILED"}, set: true}
	err := setOn(t, failed, true).Destroy(t.Context())
	if err == nil || !strings.Contains(err.Error(), "111122223333 in us-east-1: no such bus") || strings.Contains(err.Error(), "444455556666") || failed.called("DeleteStackSet") {
		t.Errorf("%v after %q", err, failed.calls)
	}
	if err := setOn(t, &cloud{}, true).Destroy(t.Context()); !errors.Is(err, deploy.ErrNoStack) {
		t.Errorf("without a set: %v", err)
	}
	for _, run := range []func(*deploy.StackSet) error{
		func(s *deploy.StackSet) error { return s.Destroy(t.Context()) },
		func(s *deploy.StackSet) error { return s.Apply(t.Context(), nil) },
	} {
		c := &cloud{set: true}
		if err := run(setOn(t, c, false)); !errors.Is(err, deploy.ErrRefused) || len(c.calls) != 1 {
			t.Errorf("%v after %q", err, c.calls)
		}
	}
}
