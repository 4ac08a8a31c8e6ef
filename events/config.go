package events

import (
	"fmt"
	"strings"

	"secbot/remediation"
)

const (
	// complianceChange is the detail-type of AWS Config's own events.
	complianceChange = "Config Rules Compliance Change"
	nonCompliant     = "NON_COMPLIANT"
	typeBucket       = "AWS::S3::Bucket"
	// The identifiers of the two managed rules that are answered; "List of AWS
	// Config Managed Rules" in the AWS Config Developer Guide.
	ruleRead  = "S3_BUCKET_PUBLIC_READ_PROHIBITED"
	ruleWrite = "S3_BUCKET_PUBLIC_WRITE_PROHIBITED"
)

// evaluation is what AWS Config found about one resource.
type evaluation struct {
	ComplianceType text `json:"complianceType"`
	ResourceType   text `json:"complianceResourceType"`
	ResourceID     text `json:"complianceResourceId"`
	Annotation     text `json:"annotation"`
}

// configRule says which rule evaluated: its managed identifier where the event
// has it, else only the name that somebody gave it.
type configRule struct {
	Identifier text `json:"managedRuleIdentifier"`
	Name       text `json:"configRuleName"`
}

// decodePutEvaluations decodes the call by which AWS Config's rules hand in
// what they found, up to 100 evaluations at once.
func decodePutEvaluations(r record, base remediation.Signal) ([]remediation.Signal, string) {
	req := lenient[struct {
		Evaluations many[evaluation] `json:"evaluations"`
		TestMode    boolean          `json:"testMode"`
	}](r.RequestParameters)
	if req.TestMode {
		return nil, "a test of a Config rule (testMode)"
	}
	// The caller is the rule, not whoever opened the bucket.
	base.Actor = remediation.Actor{}
	rule := lenient[configRule](r.AdditionalEventData)
	var sigs []remediation.Signal
	var places []int
	why := "it has no evaluations"
	for i, e := range req.Evaluations {
		sig, reason := evaluationSignal(rule, e, base)
		if reason != "" {
			why = reason
			continue
		}
		sigs, places = append(sigs, sig), append(places, i+1)
	}
	if len(sigs) == 0 {
		return nil, why
	}
	numbered(sigs, places)
	return sigs, ""
}

// decodeCompliance decodes the event by which AWS Config tells that a rule's
// verdict about a resource has changed; "Example Amazon EventBridge events" in
// the AWS Config Developer Guide.
func decodeCompliance(e event) Result {
	type detail struct {
		Rule         text       `json:"configRuleName"`
		Account      account    `json:"awsAccountId"`
		Region       text       `json:"awsRegion"`
		ResourceType text       `json:"resourceType"`
		ResourceID   text       `json:"resourceId"`
		New          evaluation `json:"newEvaluationResult"`
	}
	d := lenient[detail](e.Detail)
	base := remediation.Signal{
		EventID:  string(e.ID),
		Kind:     complianceChange,
		At:       firstTime(e.Time),
		Resource: remediation.Ref{Account: first(d.Account, e.Account), Region: first(d.Region, e.Region)},
	}
	d.New.ResourceType, d.New.ResourceID = d.ResourceType, d.ResourceID
	sig, why := evaluationSignal(configRule{Name: d.Rule}, d.New, base)
	if why != "" {
		return Result{Kind: complianceChange, Skipped: why}
	}
	return Result{Kind: complianceChange, Signals: single(sig)}
}

// evaluationSignal decodes one evaluation, or says why it is none of ours.
func evaluationSignal(rule configRule, e evaluation, base remediation.Signal) (remediation.Signal, string) {
	identifier, known := rule.resolve()
	switch {
	case known && identifier == "":
		return base, fmt.Sprintf("Config rule %q is none that secbot answers", clip(first(rule.Identifier, rule.Name), maxID))
	case e.ResourceType != typeBucket:
		return base, fmt.Sprintf("Config evaluated a resource of type %q, not a bucket", clip(string(e.ResourceType), maxID))
	case e.ComplianceType == "":
		return base, "Config has no verdict any more: the bucket or the rule is gone"
	case e.ComplianceType != nonCompliant:
		return base, fmt.Sprintf("Config evaluation is %q, not %s", clip(string(e.ComplianceType), maxID), nonCompliant)
	}
	sig, why := bucketSignal(base, e.ResourceID)
	if why != "" {
		return base, why
	}
	if !known {
		sig.ConfigRule = string(rule.Name)
		return sig, ""
	}
	setRule(&sig, identifier, string(e.Annotation))
	return sig, ""
}

// resolve gives the managed rule's identifier. known is false where only AWS
// Config can tell; an empty identifier with known true is none of ours.
func (r configRule) resolve() (identifier string, known bool) {
	if r.Identifier != "" {
		if r.Identifier == ruleRead || r.Identifier == ruleWrite {
			return string(r.Identifier), true
		}
		return "", true
	}
	if r.Name == "" {
		return "", true
	}
	return nameIdentifier(string(r.Name))
}

// nameIdentifier resolves a rule's name where it is one that the managed rules
// get by themselves, perhaps with a suffix, as conformance packs and Security
// Hub (which also puts its own name first) make them.
func nameIdentifier(name string) (string, bool) {
	name = strings.TrimPrefix(strings.ToUpper(strings.ReplaceAll(name, "-", "_")), "SECURITYHUB_")
	for _, rule := range []string{ruleRead, ruleWrite} {
		if name == rule || strings.HasPrefix(name, rule+"_") {
			return rule, true
		}
	}
	return "", false
}

// setRule says to which playbooks a managed rule's verdict points and how open
// the bucket is.
//
// The annotation, where there is one, says whether the ACL or the policy is
// public. It may hold both sentences, one directly behind the other, and is cut
// at 256 characters. Without one only the live state tells.
func setRule(sig *remediation.Signal, identifier, annotation string) {
	sig.Change.Openness = []remediation.Openness{remediation.PublicRead}
	if identifier == ruleWrite {
		sig.Change.Openness = []remediation.Openness{remediation.PublicWrite}
	}
	annotation = strings.ToLower(annotation)
	if strings.Contains(annotation, "acl") {
		sig.Playbooks = append(sig.Playbooks, playbookACL)
	}
	if strings.Contains(annotation, "policy") {
		sig.Playbooks = append(sig.Playbooks, playbookPolicy)
	}
	if len(sig.Playbooks) == 0 {
		sig.Playbooks = []string{playbookBlock}
	}
}
