package events

import "secbot/remediation"

const playbookBlock = "s3-block-public-access"

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
	if bucket == "" && r.EventSource == sourceS3Control {
		return nil, string(r.EventName) + " changes " + notYet("PutAccountPublicAccessBlock")
	}
	sig, why := bucketSignal(base, bucket)
	if why != "" {
		return nil, why
	}
	sig.Playbooks = []string{playbookBlock}
	sig.Change.Block = flags
	sig.Change.Openness = []remediation.Openness{remediation.Unblocked}
	return single(sig), ""
}
