package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"

	"secbot/remediation"
)

// AWS looks at the AWS side.
type AWS struct {
	Config  aws.Config
	Who     func(ctx context.Context) (remediation.Identity, error)
	Actions []string // the IAM actions that secbot needs, sorted
	// On is the ARN of what an action is used on, where it is but one thing; empty for
	// all others.
	On       func(action string, id remediation.Identity) string
	NoRegion string // why no region is known; empty where one is
	QueueURL string // SECBOT_QUEUE_URL
}

// Check looks at region, identity and each permission.
func (a *AWS) Check(ctx context.Context) []Result {
	var found []Result
	if a.NoRegion != "" {
		found = append(found, fault("region", a.NoRegion, "set AWS_REGION, or regions in secbot.yaml"))
	} else {
		found = append(found, good("region", "%s", a.Config.Region))
	}
	id, err := a.Who(ctx)
	if err != nil {
		return append(found, fault("AWS identity", remediation.Explain(err), "give secbot credentials: a role of its machine, or AWS_PROFILE"),
			skipped("permissions", "nobody knows whose"))
	}
	found = append(found, good("AWS identity", "%s", id.ARN))
	allowed, err := a.simulate(ctx, id)
	if err == nil {
		return append(found, verdict(a.Actions, allowed, "by iam:SimulatePrincipalPolicy")...)
	}
	tried := a.try(ctx, id)
	found = append(found, verdict(a.Actions, tried, "by dry runs and harmless reads")...)
	if rest := a.untried(tried); len(rest) > 0 {
		found = append(found, unknown("permissions", fmt.Sprintf("these can't be tried without changing something: %s", strings.Join(rest, ", ")),
			fmt.Sprintf("allow secbot's role iam:SimulatePrincipalPolicy on itself to have them checked too (now: %s)", reason(err))))
	}
	return found
}

// reason is why the simulation said nothing, in few words.
func reason(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return plain(err)
}

// verdict makes one line of what is allowed, and one for each action that is not.
func verdict(actions []string, allowed map[string]bool, how string) []Result {
	var found []Result
	n := 0
	for _, action := range actions {
		may, known := allowed[action]
		switch {
		case known && may:
			n++
		case known:
			found = append(found, fault("permissions", action+" is denied ("+how+")",
				"allow secbot's role what `secbot iam-policy` prints; a boundary or a service control policy may forbid it too"))
		}
	}
	if n > 0 {
		found = append([]Result{good("permissions", "%d actions are allowed (%s)", n, how)}, found...)
	}
	return found
}

func (a *AWS) untried(tried map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(a.Actions), func(action string) bool { _, ok := tried[action]; return ok })
}

// simulated is how many actions one question is about.
const simulated = 50

// simulate asks IAM what the policies of secbot's own role allow.
func (a *AWS) simulate(ctx context.Context, id remediation.Identity) (map[string]bool, error) {
	arn := principal(id)
	if arn == "" {
		return nil, errors.New("no user or role")
	}
	on := map[string][]string{}
	for _, action := range a.Actions {
		resource := a.On(action, id)
		on[resource] = append(on[resource], action)
	}
	client := iam.NewFromConfig(a.Config)
	allowed := map[string]bool{}
	for resource, actions := range on {
		for some := range slices.Chunk(actions, simulated) {
			in := &iam.SimulatePrincipalPolicyInput{PolicySourceArn: &arn, ActionNames: some}
			if resource != "" {
				in.ResourceArns = []string{resource}
			}
			pages := iam.NewSimulatePrincipalPolicyPaginator(client, in)
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return nil, err
				}
				for _, r := range page.EvaluationResults {
					allowed[aws.ToString(r.EvalActionName)] = r.EvalDecision == types.PolicyEvaluationDecisionTypeAllowed
				}
			}
		}
	}
	return allowed, nil
}

// principal is the ARN whose policies count: of an assumed role the role's.
func principal(id remediation.Identity) string {
	arn := id.ARN
	if id.RoleARN != "" {
		arn = id.RoleARN
	}
	if strings.HasSuffix(arn, ":root") || !strings.Contains(arn, ":iam:") {
		return ""
	}
	return arn
}

// denied reports whether AWS has refused a call for lack of a permission. Every
// other answer comes after that was looked at.
func denied(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch strings.TrimPrefix(api.ErrorCode(), "Client.") {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden":
		return true
	}
	return false
}

// answered reports whether AWS has answered at all, and with something that tells.
func answered(err error) bool {
	var api smithy.APIError
	if err == nil {
		return true
	}
	if !errors.As(err, &api) {
		return false
	}
	switch strings.TrimPrefix(api.ErrorCode(), "Client.") {
	case "RequestLimitExceeded", "Throttling", "ThrottlingException", "SlowDown", "InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "InvalidAction",
		"InvalidParameterValue", "MissingParameter", "InvalidParameterCombination", "ValidationException", "InvalidRequest":
		return false
	}
	return true
}
