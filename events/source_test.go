package events_test

import (
	"strings"
	"testing"

	"secbot/events"
)

// TestOnlyEventsOfAWS: whoever may put events on a bus can neither invent a change
// nor make a source seem alive that is silent.
func TestOnlyEventsOfAWS(t *testing.T) {
	const trail = `{"detail-type":"AWS API Call via CloudTrail","source":"SOURCE","detail":{"eventVersion":"1.08","eventSource":"s3.amazonaws.com","eventName":"PutBucketAcl","eventID":"e","awsRegion":"us-east-1","recipientAccountId":"111122223333","requestParameters":{"bucketName":"b","x-amz-acl":"public-read"}}}`
	const config = `{"detail-type":"Config Rules Compliance Change","source":"SOURCE","detail":{}}`
	for source, ours := range map[string]bool{"aws.s3": true, "aws.config": true, "com.mallory": false, "aws": false, "AWS.s3": false, "aws.partner/mallory.com/x": false} {
		for _, raw := range []string{trail, config} {
			results, err := events.Decode([]byte(strings.ReplaceAll(raw, "SOURCE", source)))
			if err != nil || len(results) != 1 {
				t.Fatalf("%s: %v %v", source, results, err)
			}
			if r := results[0]; (r.Source != "") != ours || !ours && (len(r.Signals) > 0 || !strings.Contains(r.Skipped, source)) {
				t.Errorf("from %s: %+v", source, r)
			}
		}
	}
}
