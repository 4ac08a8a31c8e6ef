package awsenv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"secbot/remediation"
)

// DefaultMemberRole is the role of infra/member.yaml, made for a hub that is
// called secbot.
const DefaultMemberRole = "secbot-member"

// Member is how secbot gets into accounts that are not its own.
type Member struct {
	Role       string // the role's name there; DefaultMemberRole where empty
	ExternalID string // what its trust policy asks for; empty: secbot stays in its own account
}

// Actions are the IAM actions for members: to take their role, to say who does,
// and to list the accounts of the organisation.
func (m Member) Actions() []string {
	if m.ExternalID == "" {
		return nil
	}
	return []string{"organizations:ListAccounts", "sts:AssumeRole", "sts:SetSourceIdentity"}
}

const (
	// sourceIdentity is what CloudTrail shows in a member's account of every call by
	// secbot, whoever had taken the role by what name. The role of infra/member.yaml
	// takes no other.
	sourceIdentity = "secbot"
	// maxSessions bounds the sessions of one account that are kept. There is one for
	// all that reads, and one for each incident that is being fixed or undone.
	maxSessions = 32
	// renewSession is how long before its end a session is taken anew, so that none
	// ends while a call is on its way.
	renewSession = time.Minute
)

// memberCredentials are those for one account: secbot's own where it is secbot's,
// else of the role there. Which of them it is, is asked when they are needed.
type memberCredentials struct {
	a       *AWS
	account string

	mu       sync.Mutex
	sessions map[string]*aws.CredentialsCache // by name
}

// Retrieve gives good credentials, from memory where it can. Its error is a
// *remediation.AccountError where it is the account that does not let secbot in.
func (m *memberCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	self, err := m.a.Identity(ctx)
	alone := m.a.member.ExternalID == ""
	switch {
	case self.Account == m.account, err != nil && alone:
		// An installation of one account does without STS: AWS itself refuses what is
		// another's.
		return m.a.cfg.Credentials.Retrieve(ctx)
	case err != nil:
		return aws.Credentials{}, err
	case alone:
		return aws.Credentials{}, &remediation.AccountError{Account: m.account, Err: ErrNoMembers}
	}
	c, err := m.session(self, sessionName(remediation.IncidentOf(ctx))).Retrieve(ctx)
	if err != nil {
		return c, &remediation.AccountError{Account: m.account, Role: m.a.member.Role, Err: err}
	}
	return c, nil
}

// session gives the session of a name, which is taken when it is first used.
func (m *memberCredentials) session(self remediation.Identity, name string) *aws.CredentialsCache {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.sessions[name]; c != nil {
		return c
	}
	if len(m.sessions) >= maxSessions {
		clear(m.sessions)
	}
	role := arn.ARN{Partition: self.Partition(), Service: "iam", AccountID: m.account, Resource: "role/" + m.a.member.Role}
	c := aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(m.a.cfg), role.String(), func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = name
		o.ExternalID = &m.a.member.ExternalID
		o.SourceIdentity = aws.String(sourceIdentity)
	}), func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = renewSession })
	m.sessions[name] = c
	return c
}

// sessionName is what CloudTrail shows behind the role: for what incident a change
// was made. STS takes [\w+=,.@-]{2,64}.
func sessionName(incident string) string {
	if incident == "" {
		return sourceIdentity
	}
	const taken = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+=,.@-"
	name := sourceIdentity + "-" + strings.Map(func(r rune) rune {
		if !strings.ContainsRune(taken, r) {
			return '-'
		}
		return r
	}, incident)
	return name[:min(len(name), 64)]
}

// credentials gives those for an account. It must be called with the lock held.
func (a *AWS) credentials(account string) aws.CredentialsProvider {
	if account == "" {
		return a.cfg.Credentials
	}
	c := a.members[account]
	if c == nil {
		if len(a.members) >= maxEnvironments { // who only asks for rules has no environment
			clear(a.members)
		}
		c = &memberCredentials{a: a, account: account, sessions: map[string]*aws.CredentialsCache{}}
		a.members[account] = c
	}
	return c
}

// plausibleAccount keeps what comes from events out of ARNs.
func plausibleAccount(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }

// ErrNoMembers says that secbot was not told how to get into other accounts.
var ErrNoMembers = errors.New("secbot goes into no account but its own: set SECBOT_EXTERNAL_ID to what their role asks for (docs/deploy.md)")

// Accounts lists the accounts of the organisation that are active, sorted. Only its
// management account, or one to which AWS Organizations was delegated, may ask.
// It returns ErrNoMembers where secbot could get into none of them.
func (a *AWS) Accounts(ctx context.Context) ([]string, error) {
	if a.member.ExternalID == "" {
		return nil, ErrNoMembers
	}
	var ids []string
	pages := organizations.NewListAccountsPaginator(organizations.NewFromConfig(a.cfg), &organizations.ListAccountsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the accounts of the organisation (organizations:ListAccounts): %w", err)
		}
		for _, account := range page.Accounts {
			if active(account) {
				ids = append(ids, aws.ToString(account.Id))
			}
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// active goes by State, which has taken Status's place; stand-ins and partitions
// that are behind still give Status alone.
func active(account types.Account) bool {
	if account.State != "" {
		return account.State == types.AccountStateActive
	}
	return account.Status == types.AccountStatusActive
}
