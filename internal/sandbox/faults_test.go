package sandbox

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"secbot/internal/sandbox/fakeaws"
	"secbot/internal/sandbox/fakeslack"
)

func TestScript(t *testing.T) {
	s, err := NewScript(
		Mishap{Service: "ec2", Action: "DescribeSecurityGroups", Caller: "role/secbot", From: 2, Count: 2, Fault: "throttled"},
		Mishap{Service: "s3", Fault: "denied"},
		Mishap{Service: "slack", Action: "chat.update", Count: 1, Fault: "ratelimited", Seconds: 7},
	)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 4 {
		other := s.AWS(fakeaws.Call{Service: "ec2", Action: "DescribeSecurityGroups", Caller: "user/dana"})
		f := s.AWS(fakeaws.Call{Service: "ec2", Action: "DescribeSecurityGroups", Caller: "role/secbot"})
		got = append(got, fmt.Sprint(other != nil, f != nil && f.Code == "RequestLimitExceeded"))
	}
	if want := []string{"false false", "false true", "false true", "false false"}; !slices.Equal(got, want) {
		t.Errorf("mishaps befell %v, want %v", got, want)
	}
	if f := s.AWS(fakeaws.Call{Service: "s3", Action: "GetBucketAcl"}); f == nil || f.Code != "AccessDenied" {
		t.Errorf("every call of S3 is to be denied: %+v", f)
	}
	first, second := s.Slack(fakeslack.Call{Method: "chat.update"}), s.Slack(fakeslack.Call{Method: "chat.update"})
	if first == nil || first.RetryAfter != 7*time.Second || second != nil {
		t.Errorf("the first call alone is to be limited: %+v %+v", first, second)
	}
	for _, wrong := range []Mishap{{Service: "ec2", Fault: "ratelimited"}, {Service: "slack", Fault: "stale"}, {Service: "ec2", Fault: "x"}, {Fault: "reset"}, {Service: "ec2", Fault: "reset", From: -1}} {
		if _, err := NewScript(wrong); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
}

// TestScriptByHTTP also sees that a stale read answers from before a change.
func TestScriptByHTTP(t *testing.T) {
	sb, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sb.Close(); err != nil {
			t.Error(err)
		}
	}()
	play := func(script string) int {
		resp, err := http.Post(sb.SlackURL+"/sandbox/faults", "application/json", bytes.NewReader([]byte(script)))
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	client := ec2.NewFromConfig(aws.Config{Region: "us-east-1", BaseEndpoint: &sb.AWSURL, Credentials: credentials.NewStaticCredentialsProvider("a", "s", "")})
	made, err := client.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String("web"), Description: aws.String("d")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: made.GroupId,
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), CidrIp: aws.String("0.0.0.0/0")})
	if err != nil {
		t.Fatal(err)
	}
	if status := play(`[{"service":"ec2","action":"DescribeSecurityGroups","count":1,"fault":"stale"}]`); status != http.StatusOK {
		t.Fatalf("the script: %d", status)
	}
	for i, want := range []int{0, 1} {
		out, err := client.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{*made.GroupId}})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(out.SecurityGroups[0].IpPermissions); n != want {
			t.Errorf("read %d shows %d permissions, want %d", i+1, n, want)
		}
	}
	if status := play(`[{"service":"ec2","fault":"stail"}]`); status != http.StatusUnprocessableEntity {
		t.Errorf("a script with an unknown fault: %d", status)
	}
	if status := play(`[]`); status != http.StatusOK {
		t.Errorf("the empty script: %d", status)
	}
}
