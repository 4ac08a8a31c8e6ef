//go:build moto

package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"secbot/events"
	"secbot/internal/awsenv"
	"secbot/internal/mototest"
)

// onMoto is the environment of commands on moto.
func onMoto(t *testing.T) aws.Config {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": mototest.Start(t), "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret",
		"SECBOT_CONFIG": "", "SECBOT_CHANNEL": "#security", "SECBOT_RESPONDERS": "U0123ABCD", "SLACK_BOT_TOKEN": "", "SLACK_SIGNING_SECRET": "",
	} {
		t.Setenv(name, value)
	}
	cfg, _, err := awsenv.LoadConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// function is what moto's Lambda tells of a function.
func function(t *testing.T, cfg aws.Config, name string) (f struct {
	Architectures []string
	Role          string
	Environment   struct{ Variables map[string]string }
}) {
	t.Helper()
	answer := callREST(t, cfg, "lambda", http.MethodGet, "/2015-03-31/functions/"+name+"/configuration", nil, http.Header{})
	if err := json.Unmarshal(answer, &f); err != nil {
		t.Fatalf("the function %s: %s %v", name, answer, err)
	}
	return f
}

// deployed runs `secbot deploy` to its end and gives what it printed.
func deployed(t *testing.T, args ...string) string {
	t.Helper()
	status, out, errOut := shell(t, "", append([]string{"deploy", "--yes"}, args...)...)
	if status != 0 {
		t.Fatalf("secbot deploy %s: status %d\n%s\n%s", strings.Join(args, " "), status, out, errOut)
	}
	return out
}

// TestInfraHub: the program brings the hub up by itself, changes it, and takes it
// out again, with nothing left but what it says.
func TestInfraHub(t *testing.T) {
	t.Setenv("CGO_ENABLED", "0")
	program := bootstrap(t)
	cfg := onMoto(t)
	before := holdings(t, cfg)
	t.Chdir(t.TempDir())
	write(t, "secbot.yaml", "mode: auto\n")
	out := deployed(t, "--zip", program, "--set", "StateMachines=secbot-*")
	for _, want := range []string{"MayStateMachines", "Approvals", "Account 123456789012, region eu-central-1", "add ", "AWS::DynamoDB::Table", "CREATE_COMPLETE", "secbot-code-123456789012-eu-central-1"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	tables := tablesOf(t, cfg)
	if len(tables) != 1 {
		t.Fatalf("the tables are %q", tables)
	}
	for name, kind := range map[string]string{"secbot-events": "events", "secbot-tick": "tick", "secbot-http": "http"} {
		f := function(t, cfg, name)
		env := f.Environment.Variables
		if env["SECBOT_LAMBDA"] != kind || env["SECBOT_MODE"] != "observe" || env["SECBOT_CHANNEL"] != "#security" || !strings.HasPrefix(env["SECBOT_STORE"], "dynamodb://"+tables[0]+"?bucket=") {
			t.Errorf("%s has the environment %q", name, env)
		}
		if web := strings.HasSuffix(f.Role, "role/secbot-web"); web != (kind == "http") {
			t.Errorf("%s has the role %s", name, f.Role)
		}
	}
	// moto makes no alarms, schedules and secrets of a template.
	want := []string{"buckets", "buses", "functions", "keys", "log groups", "mappings", "queues", "roles", "rules", "stacks", "tables", "topics"}
	if kinds := differing(before, holdings(t, cfg)); !slices.Equal(kinds, want) {
		t.Errorf("of these there are others than before: %q, want %q", kinds, want)
	}
	if again := deployed(t, "--zip", program); !strings.Contains(again, "as it should be") {
		t.Errorf("a second time, with nothing new:\n%s", again)
	}
	checkZip(t, cfg, program)
	gone := deployed(t, "--destroy")
	if !strings.Contains(gone, "stays") || !strings.Contains(gone, "aws dynamodb delete-table --table-name "+tables[0]) {
		t.Errorf("it does not say what stays:\n%s", gone)
	}
	// moto also deletes what is to stay.
	after := holdings(t, cfg)
	for _, kind := range differing(before, after) {
		t.Errorf("of the %s is left\n%s\nbefore there was\n%s", kind, after[kind], before[kind])
	}
}

func tablesOf(t *testing.T, cfg aws.Config) []string {
	t.Helper()
	out, err := dynamodb.NewFromConfig(cfg).ListTables(t.Context(), &dynamodb.ListTablesInput{})
	if err != nil {
		t.Fatal(err)
	}
	return out.TableNames
}

func s3Of(cfg aws.Config) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
}

// checkZip: the one zip holds the program and the policy, in a bucket that nobody
// else can read.
func checkZip(t *testing.T, cfg aws.Config, program string) {
	t.Helper()
	client, bucket := s3Of(cfg), "secbot-code-123456789012-eu-central-1"
	list, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil || len(list.Contents) != 1 {
		t.Fatalf("the zips: %v %v", list, err)
	}
	obj, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: list.Contents[0].Key})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(obj.Body)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"bootstrap": program, "secbot.yaml": "secbot.yaml"}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := os.ReadFile(want[f.Name]); err != nil || !bytes.Equal(got, same) {
			t.Errorf("%s in the zip is another (%v)", f.Name, err)
		}
	}
	if len(z.File) != len(want) {
		t.Errorf("the zip has %d files", len(z.File))
	}
	block, err := client.GetPublicAccessBlock(t.Context(), &s3.GetPublicAccessBlockInput{Bucket: &bucket})
	if err != nil || !aws.ToBool(block.PublicAccessBlockConfiguration.RestrictPublicBuckets) {
		t.Errorf("the bucket is not private: %v %v", block, err)
	}
}

// queueOf is the hub's queue.
func queueOf(t *testing.T, cfg aws.Config) string {
	t.Helper()
	out, err := sqs.NewFromConfig(cfg).ListQueues(t.Context(), &sqs.ListQueuesInput{QueueNamePrefix: aws.String("secbot-Queue")})
	if err != nil || len(out.QueueUrls) != 1 {
		t.Fatalf("the hub's queue: %v %v", out, err)
	}
	return out.QueueUrls[0]
}

// received are the messages in the hub's queue.
func received(t *testing.T, cfg aws.Config, queue string) (bodies []string) {
	t.Helper()
	out, err := sqs.NewFromConfig(cfg).ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue, MaxNumberOfMessages: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range out.Messages {
		bodies = append(bodies, *m.Body)
	}
	return bodies
}

// breachOf is an event of CloudTrail as an account's default bus gets it.
func breachOf(source string) map[string]any {
	return map[string]any{"Entries": []any{map[string]any{
		"Source": source, "DetailType": "AWS API Call via CloudTrail",
		"Detail": `{"eventVersion":"1.08","eventSource":"s3.amazonaws.com","eventName":"PutBucketAcl","eventID":"e","awsRegion":"us-east-1","recipientAccountId":"123456789012","requestParameters":{"bucketName":"b","x-amz-acl":"public-read"}}`,
	}}}
}

// TestInfraMember: what happens in a member's region, or the hub's own, comes to the
// hub's queue as secbot reads it; what somebody makes up does not.
func TestInfraMember(t *testing.T) {
	t.Setenv("CGO_ENABLED", "0")
	program := bootstrap(t)
	cfg := onMoto(t)
	t.Chdir(t.TempDir())
	deployed(t, "--zip", program, "--set", "OrganizationId=o-abcdefghij")
	queue := queueOf(t, cfg)
	there := cfg.Copy()
	there.Region = "us-east-1"
	t.Setenv("AWS_REGION", there.Region)
	member := []string{"--member", "--set", "HubBusArn=arn:aws:events:eu-central-1:123456789012:event-bus/secbot", "--set", "HubRoleArn=arn:aws:iam::123456789012:role/secbot-worker", "--set", "HomeRegion=us-east-1"}
	if status, _, errOut := shell(t, "", append([]string{"deploy", "--yes"}, member...)...); status == 0 || !strings.Contains(errOut, "ExternalId") {
		t.Errorf("without an external id: status %d, %s", status, errOut)
	}
	t.Setenv("SECBOT_EXTERNAL_ID", "a-long-and-secret-id")
	deployed(t, member...)
	for name, c := range map[string]struct {
		cfg    aws.Config
		source string
		want   int
	}{
		"of the hub's region": {cfg, "aws.s3", 1}, "of another region": {there, "aws.s3", 1}, "made up": {there, "com.mallory", 0},
	} {
		call(t, c.cfg, "events", "AWSEvents.PutEvents", breachOf(c.source))
		bodies := received(t, cfg, queue)
		if len(bodies) != c.want {
			t.Errorf("%s: %d messages came, %q", name, len(bodies), bodies)
		}
		for _, body := range bodies {
			results, err := events.Decode([]byte(body))
			if sigs := events.Signals(results); err != nil || len(sigs) != 1 || sigs[0].Resource.ID != "b" {
				t.Errorf("%s: secbot reads %+v %v", name, results, err)
			}
		}
	}
	deployed(t, "--member", "--destroy")
}
