//go:build moto || ministack

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// call sends a signed request, for services that secbot itself doesn't call, and gives
// the answer to it. in is the target of AWS's JSON protocol and its input.
func call(t *testing.T, cfg aws.Config, service, target string, in any) []byte {
	t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return callREST(t, cfg, service, http.MethodPost, "/", raw, http.Header{"X-Amz-Target": {target}, "Content-Type": {"application/x-amz-json-1.1"}})
}

// callREST is call for the other protocols.
func callREST(t *testing.T, cfg aws.Config, service, method, path string, body []byte, header http.Header) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, *cfg.BaseEndpoint+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header, req.Close = header, true
	sum := sha256.Sum256(body)
	req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	keys, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := v4.NewSigner().SignHTTP(t.Context(), keys, req, hex.EncodeToString(sum[:]), service, cfg.Region, time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 || resp.Header.Get("X-Amz-Function-Error") != "" {
		t.Fatalf("%s %s %s%s: %s %s %v", service, method, path, header.Get("X-Amz-Target"), resp.Status, answer, err)
	}
	return answer
}

var requestID = regexp.MustCompile(`<RequestId>[^<]*</RequestId>`)

// holdings are what an account and region hold of all that the hub consists of, as AWS
// lists it, by kind.
func holdings(t *testing.T, cfg aws.Config) map[string]string {
	t.Helper()
	all := map[string]string{}
	for kind, target := range map[string]string{
		"rules": "events AWSEvents.ListRules", "buses": "events AWSEvents.ListEventBuses", "log groups": "logs Logs_20140328.DescribeLogGroups",
		"queues": "sqs AmazonSQS.ListQueues", "secrets": "secretsmanager secretsmanager.ListSecrets", "tables": "dynamodb DynamoDB_20120810.ListTables",
		"keys": "kms TrentService.ListKeys",
	} {
		service, target, _ := strings.Cut(target, " ")
		all[kind] = string(call(t, cfg, service, target, struct{}{}))
	}
	for kind, at := range map[string]string{"functions": "lambda /2015-03-31/functions/", "mappings": "lambda /2015-03-31/event-source-mappings/", "schedules": "scheduler /schedules", "buckets": "s3 /"} {
		service, path, _ := strings.Cut(at, " ")
		all[kind] = string(callREST(t, cfg, service, http.MethodGet, path, nil, http.Header{}))
	}
	for kind, query := range map[string]string{
		"roles": "iam Action=ListRoles&Version=2010-05-08", "topics": "sns Action=ListTopics&Version=2010-03-31",
		"alarms": "monitoring Action=DescribeAlarms&Version=2010-08-01", "stacks": "cloudformation Action=DescribeStacks&Version=2010-05-15",
	} {
		service, form, _ := strings.Cut(query, " ")
		answer := callREST(t, cfg, service, http.MethodPost, "/", []byte(form), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
		all[kind] = requestID.ReplaceAllString(string(answer), "")
	}
	return all
}

// differing are the kinds of which two holdings differ, sorted.
func differing(a, b map[string]string) (kinds []string) {
	for kind := range a {
		if a[kind] != b[kind] {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}
