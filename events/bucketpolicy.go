package events

import (
	"encoding/json"

	"secbot/internal/s3policy"
	"secbot/remediation"
)

const playbookPolicy = "s3-public-policy"

type policyRequest struct {
	BucketName text            `json:"bucketName"`
	Policy     json.RawMessage `json:"bucketPolicy"`
}

// decodeBucketPolicy decodes PutBucketPolicy. A policy that does not seem public,
// or that can't be read, claims nothing and is a signal all the same: S3 may see
// it otherwise, and the live state tells.
func decodeBucketPolicy(r record, base remediation.Signal) ([]remediation.Signal, string) {
	req := lenient[policyRequest](r.RequestParameters)
	sig, why := bucketSignal(base, req.BucketName)
	if why != "" {
		return nil, why
	}
	sig.Playbooks = []string{playbookPolicy}
	policy := rawObject(req.Policy)
	if policy == nil {
		return single(sig), "its bucket policy can't be read: it is not a JSON object"
	}
	sig.Change.Policy = policy
	openness, err := policyOpenness(policy)
	sig.Change.Openness = openness
	switch {
	case len(openness) > 0:
		return single(sig), ""
	case err != nil:
		return single(sig), "its bucket policy can't be read: " + clip(err.Error(), 200)
	}
	return single(sig), "no public Allow statement in this policy"
}

// policyOpenness says how far the public statements of a policy open the
// bucket. The error is about statements that can't be understood; the others
// count all the same.
func policyOpenness(policy json.RawMessage) ([]remediation.Openness, error) {
	stmts, err := s3policy.Statements(policy)
	if err != nil {
		return nil, err
	}
	var all []remediation.Openness
	for _, s := range stmts {
		public, openness, e := s3policy.Public(s)
		if e != nil {
			err = e
		}
		if public {
			all = addOpenness(all, openness)
		}
	}
	return all, err
}
