//go:build moto

package playbooks_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"secbot/internal/mototest"
	"secbot/remediation/playbooks"
)

// motoAccount is the account that moto stands for.
const motoAccount = "123456789012"

// motoGaps are what moto does otherwise than AWS documents, so that what depends
// on it is tested on the sandbox alone:
//
//   - GetBucketPolicyStatus says of every policy that it is not public.
//   - Block Public Access is kept and enforced nowhere.
//   - BucketOwnerEnforced is kept; ACLs have an effect all the same.
//   - The expected bucket owner of a request is not looked at.
//   - Groups of other accounts can't be named in rules, nor addresses in ACLs.
//   - AWS Config has no history of security groups.
//   - With IAM enforced, some actions have the call's name instead of their own,
//     and tags given at creation need no ec2:CreateTags: motoNames.
//
// backend.enforces stands for the first five.
func motoNames() map[string]string {
	return map[string]string{
		"s3:GetBucketPolicyStatus":       "s3:ListBucket",
		"s3:GetBucketOwnershipControls":  "s3:ListBucket",
		"s3:GetBucketPublicAccessBlock":  "s3:ListBucket",
		"s3:PutBucketPublicAccessBlock":  "s3:CreateBucket",
		"s3:GetAccountPublicAccessBlock": "s3:GetPublicAccessBlock",
		"s3:PutAccountPublicAccessBlock": "s3:PutPublicAccessBlock",
	}
}

// TestContractMoto runs the contract suite against moto, whose EC2 and S3 are
// written by others.
func TestContractMoto(t *testing.T) {
	b := backend{url: mototest.Start(t), account: motoAccount}
	t.Run("readers", func(t *testing.T) { runReaders(t, b) })
	runContract(t, b)
}

// TestMotoIAM: with moto's IAM enforced, the policy that `secbot iam-policy`
// prints is enough for every playbook, and too little without any one action
// that moto knows by its name.
func TestMotoIAM(t *testing.T) {
	b := backend{url: mototest.Start(t), account: motoAccount}
	var actions []string
	for _, action := range playbooks.Actions() {
		if other, ok := motoNames()[action]; ok {
			action = other
		}
		actions = append(actions, action)
	}
	actions = append(actions, "s3:DeleteBucket", "s3:DeletePublicAccessBlock") // AWS: the two Put…PublicAccessBlock
	b.key = mototest.AddUser(t, b.url, "person", "*")
	keys := map[string]mototest.Key{"": mototest.AddUser(t, b.url, "secbot", actions...)}
	provable := slices.DeleteFunc(slices.Clone(actions), func(action string) bool {
		switch action {
		// No case reaches these on moto; see motoGaps, and TestPolicySuffices for
		// all of them.
		case "ec2:CreateTags", "config:GetResourceConfigHistory", "config:DescribeConfigRules", "sns:Publish", "s3:GetBucketLocation":
			return true
		}
		return false
	})
	for i, action := range provable {
		keys[action] = mototest.AddUser(t, b.url, fmt.Sprint("secbot-", i), slices.DeleteFunc(slices.Clone(actions), func(x string) bool { return x == action })...)
	}
	mototest.Enforce(t, b.url)
	try := func(t *testing.T, key mototest.Key, stopAtFirst bool) (problems []string) {
		cfg := awsConfig(b.url)
		cfg.Credentials = credentials.NewStaticCredentialsProvider(key.ID, key.Secret, "")
		for _, c := range allCases() {
			if c.enforced || len(problems) > 0 && stopAtFirst {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				person, secbot := secbotOn(t, b, cfg)
				problems = append(problems, wholeWay(t, person, secbot, c)...)
			})
		}
		return problems
	}
	t.Run("all", func(t *testing.T) {
		if problems := try(t, keys[""], false); len(problems) > 0 {
			t.Errorf("with the whole policy: %s", strings.Join(problems, "\n"))
		}
	})
	for _, action := range provable {
		t.Run("without "+action, func(t *testing.T) {
			if problems := try(t, keys[action], true); len(problems) == 0 {
				t.Errorf("nothing needs %s", action)
			}
		})
	}
}
