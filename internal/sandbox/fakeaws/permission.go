package fakeaws

import (
	"net/http"
	"slices"
)

// renamed are the calls whose IAM action has another name than the call, by
// service and call; "Actions, resources, and condition keys" of the Service
// Authorization Reference.
func renamed() map[string]string {
	return map[string]string{
		"sqs:SendMessageBatch":                  "sqs:SendMessage",
		"s3:ListBuckets":                        "s3:ListAllMyBuckets",
		"s3:HeadBucket":                         "s3:ListBucket",
		"s3:GetBucketReplication":               "s3:GetReplicationConfiguration",
		"s3:GetBucketLifecycleConfiguration":    "s3:GetLifecycleConfiguration",
		"s3:GetBucketNotificationConfiguration": "s3:GetBucketNotification",
		"s3:GetPublicAccessBlock":               "s3:GetBucketPublicAccessBlock",
		"s3:PutPublicAccessBlock":               "s3:PutBucketPublicAccessBlock",
		"s3:DeletePublicAccessBlock":            "s3:PutBucketPublicAccessBlock",
		"s3:DeleteBucketOwnershipControls":      "s3:PutBucketOwnershipControls",
		"s3:DeleteBucketTagging":                "s3:PutBucketTagging",
		"s3control:GetPublicAccessBlock":        "s3:GetAccountPublicAccessBlock",
		"s3control:PutPublicAccessBlock":        "s3:PutAccountPublicAccessBlock",
		"s3control:DeletePublicAccessBlock":     "s3:PutAccountPublicAccessBlock",
	}
}

// needed are the IAM actions that a call needs.
func (x *exchange) needed() []string {
	action := x.Service + ":" + x.Action
	if other, ok := renamed()[action]; ok {
		action = other
	}
	if x.Service == "ec2" && x.form != nil && len(x.form.at("TagSpecification").items()) > 0 {
		return []string{action, "ec2:CreateTags"}
	}
	if action == "sts:AssumeRole" && x.form != nil && x.form.text("SourceIdentity") != "" {
		return []string{action, "sts:SetSourceIdentity"}
	}
	return []string{action}
}

// denied refuses a call of a caller who may not make it; nil where they may.
// Everybody may ask who they are.
func (x *exchange) denied() *Error {
	if x.anonymous || x.caller.Allowed == nil || x.Action == "GetCallerIdentity" {
		return nil
	}
	for _, action := range x.needed() {
		if slices.Contains(x.caller.Allowed, action) {
			continue
		}
		text := "User: " + x.caller.ARN() + " is not authorized to perform: " + action + " because no identity-based policy allows the " + action + " action"
		switch x.Service {
		case "s3", "s3control", "iam":
			return failure(http.StatusForbidden, "AccessDenied", text)
		case "ec2":
			return failure(http.StatusForbidden, "UnauthorizedOperation", "You are not authorized to perform this operation. "+text)
		}
		return failure(http.StatusBadRequest, "AccessDeniedException", text)
	}
	return nil
}
