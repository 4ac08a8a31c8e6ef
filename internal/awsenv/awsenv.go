// Package awsenv binds secbot to AWS: configuration, the environment of each
// account and region, secbot's own identity, and the names of Config rules.
package awsenv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/configservice"
	"github.com/aws/aws-sdk-go-v2/service/configservice/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"secbot/internal/plainbody"
	"secbot/remediation"
	"secbot/remediation/playbooks"
)

// DefaultRegion is taken where the environment names none: S3 and STS answer
// there for every region.
const DefaultRegion = "us-east-1"

// LoadConfig reads the SDK's own environment and files, and says whether they name
// a region or DefaultRegion was taken. It calls nobody. In the build for Lambda it
// reads no files, and refuses what it would have to read there.
func LoadConfig(ctx context.Context) (cfg aws.Config, named bool, err error) {
	cfg, err = load(ctx)
	if err != nil {
		return cfg, false, fmt.Errorf("AWS configuration: %w (see the AWS_ environment variables and ~/.aws)", err)
	}
	cfg.APIOptions = append(cfg.APIOptions, plainbody.Use)
	if named = cfg.Region != ""; !named {
		cfg.Region = DefaultRegion
	}
	return cfg, named, nil
}

// httpClient bounds every wait: an AWS that does not answer must not hold a
// fix for ever.
//
// It is the SDK's own kind of client, since the SDK puts AWS_CA_BUNDLE into no
// other.
func httpClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTimeout(30 * time.Second).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = 3 * time.Second }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout = 5 * time.Second
			t.ResponseHeaderTimeout = 15 * time.Second
			// Connections wait for the next event: as many as one resource is read
			// with at once, of many hosts. Each bucket is a host of its own, so that
			// the scan of a few hundred must not close those to EC2 and the store.
			t.MaxIdleConnsPerHost, t.MaxIdleConns, t.IdleConnTimeout = 64, 1024, 90*time.Second
		})
}

// AWS gives environments by account and region. It implements
// remediation.Provider.
type AWS struct {
	cfg    aws.Config
	member Member
	now    func() time.Time

	mu         sync.Mutex
	envs       map[[2]string]*remediation.Environment
	members    map[string]*memberCredentials // by account
	rules      map[string]string             // the managed rule by account, region and name
	rulesUntil time.Time

	identity asked
}

// New makes an AWS on a configuration; clients are made when they are needed.
func New(cfg aws.Config, member Member) *AWS {
	member.Role = cmp.Or(member.Role, DefaultMemberRole)
	return &AWS{cfg: cfg, member: member, now: time.Now, envs: map[[2]string]*remediation.Environment{}, members: map[string]*memberCredentials{}}
}

// Region is the configured one.
func (a *AWS) Region() string { return a.cfg.Region }

// maxEnvironments bounds how many environments are kept, since account ids and
// regions come from events.
const maxEnvironments = 1000

// Environment gives the readers and playbooks of an account and region. It
// makes no call.
func (a *AWS) Environment(_ context.Context, account, region string) (*remediation.Environment, error) {
	if region == "" {
		region = a.cfg.Region
	}
	if !plausibleRegion(region) {
		return nil, fmt.Errorf("%q is no AWS region", region)
	}
	if account != "" && !plausibleAccount(account) {
		return nil, fmt.Errorf("%q is no AWS account: an id has 12 digits", account)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	key := [2]string{account, region}
	if env := a.envs[key]; env != nil {
		return env, nil
	}
	if len(a.envs) >= maxEnvironments {
		clear(a.envs)
		clear(a.members)
	}
	cfg := a.cfg
	cfg.Credentials = a.credentials(account)
	c := playbooks.NewClients(cfg, account, region)
	env := &remediation.Environment{Account: account, Region: region, Readers: playbooks.Readers(c), Playbooks: playbooks.All(c)}
	a.envs[key] = env
	return env, nil
}

// plausibleRegion keeps what comes from events out of host names.
func plausibleRegion(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

const (
	// keepIdentity is how long it is taken for granted who secbot is.
	keepIdentity = 24 * time.Hour
	// keepFailure is how long STS is not asked again after it did not answer.
	keepFailure = time.Minute
	// keepCheck is how old the answer may be that Check goes by.
	keepCheck = 30 * time.Second
	// identityTimeout bounds a request to STS.
	identityTimeout = 5 * time.Second
)

// asked is what STS last said, and what went wrong since.
type asked struct {
	mu    sync.Mutex
	last  remediation.Identity // the last that was told; empty: none was
	at    time.Time            // when STS was asked last
	fault error                // what came of that
}

// Identity is who secbot is, as STS tells it. A known identity stays so while STS
// can't be asked: what secbot may do changes, who it is does not.
func (a *AWS) Identity(ctx context.Context) (remediation.Identity, error) {
	id, err := a.ask(ctx, keepIdentity, keepFailure)
	if id.ARN != "" {
		return id, nil
	}
	return id, err
}

// Check asks STS whether secbot's credentials are good, unless it has just done so.
func (a *AWS) Check(ctx context.Context) error {
	_, err := a.ask(ctx, keepCheck, keepCheck)
	return err
}

// ask asks STS unless the last answer, or the last failure, is younger. Whoever
// waits for it may leave: the answer is for the others too.
func (a *AWS) ask(ctx context.Context, keep, keepFault time.Duration) (remediation.Identity, error) {
	a.identity.mu.Lock()
	defer a.identity.mu.Unlock()
	known, now := &a.identity, a.now()
	if known.fault != nil {
		keep = keepFault
	}
	if !known.at.IsZero() && now.Sub(known.at) < keep {
		return known.last, known.fault
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), identityTimeout)
	defer cancel()
	out, err := sts.NewFromConfig(a.cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	known.at, known.fault = now, nil
	if err != nil {
		known.fault = fmt.Errorf("ask STS who secbot is: %w", err)
		return known.last, known.fault
	}
	known.last = identity(aws.ToString(out.Account), aws.ToString(out.Arn))
	if a.member.ExternalID != "" {
		known.last.MemberRole = a.member.Role
	}
	return known.last, nil
}

// identity derives the role's ARN from an assumed role's:
// arn:aws:sts::A:assumed-role/NAME/SESSION is of arn:aws:iam::A:role/NAME.
// The path of a role is not in there, so a role with a path is matched by
// its request ids alone.
func identity(account, caller string) remediation.Identity {
	id := remediation.Identity{Account: account, ARN: caller}
	a, err := arn.Parse(caller)
	if err != nil || a.Service != "sts" {
		return id
	}
	parts := strings.Split(a.Resource, "/")
	if len(parts) == 3 && parts[0] == "assumed-role" {
		id.RoleARN = arn.ARN{Partition: a.Partition, Service: "iam", AccountID: a.AccountID, Resource: "role/" + parts[1]}.String()
	}
	return id
}

// managedRules gives the Config rules that secbot answers, and the openness that
// each finds.
func managedRules() map[string]remediation.Openness {
	return map[string]remediation.Openness{
		"S3_BUCKET_PUBLIC_READ_PROHIBITED":  remediation.PublicRead,
		"S3_BUCKET_PUBLIC_WRITE_PROHIBITED": remediation.PublicWrite,
	}
}

// errUnknownRule says that AWS Config knows no rule of a name.
var errUnknownRule = errors.New("AWS Config knows no such rule")

// Enrich asks AWS Config which managed rule is behind the signal's ConfigRule,
// and gives the signal its playbooks if it is one of ours.
func (a *AWS) Enrich(ctx context.Context, sig *remediation.Signal) error {
	identifier, err := a.managedRule(ctx, sig.Resource, sig.ConfigRule)
	if errors.Is(err, errUnknownRule) {
		return nil
	}
	if err != nil {
		return err
	}
	openness, ours := managedRules()[identifier]
	if !ours {
		return nil
	}
	if len(sig.Playbooks) == 0 {
		sig.Playbooks = []string{"s3-block-public-access"}
	}
	sig.Change.Openness = []remediation.Openness{openness}
	return nil
}

// managedRule resolves a rule's name, from memory for an hour.
func (a *AWS) managedRule(ctx context.Context, of remediation.Ref, name string) (string, error) {
	rule, cfg := of.Account+"/"+of.Region+"/"+name, a.cfg
	a.mu.Lock()
	known := a.rules[rule]
	fresh := a.now().Before(a.rulesUntil)
	if plausibleAccount(of.Account) {
		cfg.Credentials = a.credentials(of.Account)
	}
	a.mu.Unlock()
	if known != "" && fresh {
		return known, nil
	}
	client := configservice.NewFromConfig(cfg, func(o *configservice.Options) {
		if plausibleRegion(of.Region) {
			o.Region = of.Region
		}
	})
	out, err := client.DescribeConfigRules(ctx, &configservice.DescribeConfigRulesInput{ConfigRuleNames: []string{name}})
	var none *types.NoSuchConfigRuleException
	if errors.As(err, &none) {
		return "", errUnknownRule
	}
	if err != nil {
		return "", fmt.Errorf("describe the Config rule %s: %w", name, err)
	}
	for _, r := range out.ConfigRules {
		if aws.ToString(r.ConfigRuleName) == name && r.Source != nil {
			a.remember(rule, aws.ToString(r.Source.SourceIdentifier))
			return aws.ToString(r.Source.SourceIdentifier), nil
		}
	}
	return "", errUnknownRule
}

func (a *AWS) remember(rule, identifier string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.now().Before(a.rulesUntil) || len(a.rules) >= maxEnvironments {
		a.rules, a.rulesUntil = map[string]string{}, a.now().Add(time.Hour)
	}
	a.rules[rule] = identifier
}
