package events

import (
	"strings"

	"secbot/remediation"
)

const (
	playbookBlock        = "s3-block-public-access"
	playbookAccountBlock = "s3-account-block-public-access"
)

type blockRequest struct {
	BucketName text `json:"bucketName"`
	Config     struct {
		BlockPublicAcls       boolean
		IgnorePublicAcls      boolean
		BlockPublicPolicy     boolean
		RestrictPublicBuckets boolean
	} `json:"PublicAccessBlockConfiguration"`
}

// decodePutBlock decodes PutBucketPublicAccessBlock, which replaces all four
// flags: one that is missing is off.
func decodePutBlock(r record, base remediation.Signal) ([]remediation.Signal, string) {
	c := lenient[blockRequest](r.RequestParameters).Config
	flags := remediation.BlockFlags{
		BlockPublicAcls:       bool(c.BlockPublicAcls),
		IgnorePublicAcls:      bool(c.IgnorePublicAcls),
		BlockPublicPolicy:     bool(c.BlockPublicPolicy),
		RestrictPublicBuckets: bool(c.RestrictPublicBuckets),
	}
	if flags.All() {
		return nil, "all four flags of Block Public Access are on"
	}
	return blockSignal(r, base, &flags)
}

func decodeDeleteBlock(r record, base remediation.Signal) ([]remediation.Signal, string) {
	return blockSignal(r, base, nil)
}

func blockSignal(r record, base remediation.Signal, flags *remediation.BlockFlags) ([]remediation.Signal, string) {
	bucket := lenient[blockRequest](r.RequestParameters).BucketName
	sig, why := bucketSignal(base, bucket)
	sig.Playbooks = []string{playbookBlock}
	if bucket == "" && (r.EventSource == sourceS3Control || strings.Contains(string(r.EventName), "Account")) {
		sig, why = accountSignal(base)
	}
	if why != "" {
		return nil, why
	}
	sig.Change.Block = flags
	sig.Change.Openness = []remediation.Openness{remediation.Unblocked}
	return single(sig), ""
}

// accountSignal is the base of a signal about an account's own block. A call by
// s3-control without a bucket is about the account, under either of its names.
func accountSignal(base remediation.Signal) (remediation.Signal, string) {
	if len(base.Resource.Account) != 12 {
		return base, "it names no account"
	}
	// It holds in every region, whichever was called.
	base.Resource = remediation.Ref{Kind: remediation.KindAccount, Account: base.Resource.Account, ID: base.Resource.Account}
	base.Playbooks = []string{playbookAccountBlock}
	return base, ""
}
