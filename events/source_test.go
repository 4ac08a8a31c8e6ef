package events_test

import (
	"strings"
	"testing"

	"secbot/events"
)

// TestOnlyAWSIsHeard: whoever may put events on a bus can't make a source seem alive
// that is silent. What they tell is looked at all the same: the live state decides.
func TestOnlyAWSIsHeard(t *testing.T) {
	const trail = `{"detail-type":"AWS API Call via CloudTrail","source":"SOURCE","detail":{"eventVersion":"1.08","eventSource":"s3.amazonaws.com","eventName":"PutBucketAcl","eventID":"e","awsRegion":"us-east-1","recipientAccountId":"111122223333","requestParameters":{"bucketName":"b","x-amz-acl":"public-read"}}}`
	const config = `{"detail-type":"Config Rules Compliance Change","source":"SOURCE","detail":{}}`
	for source, ours := range map[string]bool{"aws.s3": true, "aws.config": true, "com.mallory": false, "aws": false, "AWS.s3": false, "aws.partner/mallory.com/x": false} {
		for _, raw := range []string{trail, config} {
			results, err := events.Decode([]byte(strings.ReplaceAll(raw, "SOURCE", source)))
			if err != nil || len(results) != 1 {
				t.Fatalf("%s: %v %v", source, results, err)
			}
			if r := results[0]; (r.Source != "") != ours || raw == trail && len(r.Signals) != 1 {
				t.Errorf("from %s: %+v", source, r)
			}
		}
	}
}
