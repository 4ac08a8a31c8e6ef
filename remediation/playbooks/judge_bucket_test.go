package playbooks_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"secbot/remediation"
	"secbot/remediation/playbooks"
)

func bucket() *playbooks.BucketState {
	return &playbooks.BucketState{
		Bucket: remediation.Ref{Kind: remediation.KindBucket, Account: "111122223333", Region: "eu-west-1", ID: "reports"},
		ACL:    playbooks.ACL{OwnerID: "me", Grants: []playbooks.ACLGrant{{Type: "CanonicalUser", ID: "me", Permission: "FULL_CONTROL"}}},
		Tags:   map[string]string{"env": "prod"},
	}
}

// but changes a bucket.
func but(changes ...func(*playbooks.BucketState)) *playbooks.BucketState {
	s := bucket()
	for _, c := range changes {
		c(s)
	}
	return s
}

func granting(who, permission string) func(*playbooks.BucketState) {
	return func(s *playbooks.BucketState) {
		s.ACL.Grants = append(s.ACL.Grants, playbooks.ACLGrant{Type: "Group", URI: groupURI + who, Permission: permission})
	}
}

func withPolicy(isPublic bool, statements ...string) func(*playbooks.BucketState) {
	return func(s *playbooks.BucketState) {
		text := policyOf(s.Bucket, statements...)
		s.Policy, s.PolicyPublic = &text, isPublic
	}
}

func blocked(f remediation.BlockFlags) func(*playbooks.BucketState) {
	return func(s *playbooks.BucketState) { s.Block = &f }
}

func accountBlocked(f remediation.BlockFlags) func(*playbooks.BucketState) {
	return func(s *playbooks.BucketState) { s.AccountBlock = &f }
}

func enforced(s *playbooks.BucketState) { s.Ownership = "BucketOwnerEnforced" }
func unread(s *playbooks.BucketState)   { s.AccountBlockUnread = "not allowed" }
func website(s *playbooks.BucketState)  { s.Website = true }

var allFlags = remediation.BlockFlags{BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true, RestrictPublicBuckets: true}

// after is an event about the bucket.
func after(kind string, points ...string) *remediation.Signal {
	return &remediation.Signal{EventID: "e-1", Kind: kind, Resource: bucket().Bucket, Playbooks: points}
}

func put(kind string, c remediation.Change) *remediation.Signal {
	sig := after(kind)
	sig.Change = c
	return sig
}

const (
	acl   = "s3-public-acl"
	pol   = "s3-public-policy"
	block = "s3-block-public-access"
)

// Denies for everybody, beside an Allow for everybody.
const (
	officeOnly = `{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::BUCKET/*","Condition":{"NotIpAddress":{"aws:SourceIp":"203.0.113.0/24"}}}`
	allButOne  = `{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":["s3:Get*"],"Resource":"arn:aws:s3:::BUCKET/*"}`
	noDelete   = `{"Effect":"Deny","Principal":{"AWS":"*"},"Action":["s3:DeleteBucket","s3:DeleteObject"],"Resource":"arn:aws:s3:::BUCKET/*"}`
)

func tagged(public string) func(*playbooks.BucketState) {
	return func(s *playbooks.BucketState) { s.Tags = map[string]string{"env": "prod", "Public": public} }
}

// TestJudgeBuckets has every playbook judge each state, as the engine does.
func TestJudgeBuckets(t *testing.T) {
	read := granting("global/AllUsers", "READ")
	write := granting("global/AuthenticatedUsers", "WRITE_ACP")
	logs := granting("s3/LogDelivery", "WRITE")
	config := after("PutEvaluations", block)
	annotated := after("Config Rules Compliance Change", acl)
	readPut := put("PutBucketAcl", remediation.Change{Grants: []remediation.Grant{{Grantee: "AllUsers", Permission: "READ"}}})
	unreadPut := put("PutBucketAcl", remediation.Change{Unread: "CloudTrail has left it out"})
	partlyPut := put("PutBucketAcl", remediation.Change{Grants: readPut.Change.Grants, Unread: "one of its grants"})
	policyPut := put("PutBucketPolicy", remediation.Change{Policy: json.RawMessage(policyOf(bucket().Bucket, world1))})
	for name, tc := range map[string]struct {
		state *playbooks.BucketState
		sig   *remediation.Signal
		want  string // playbook, severity, openness; ? for doubt
	}{
		"scan: private":                   {but(logs, withPolicy(false, tlsOnly, partner)), nil, ""},
		"scan: public ACL":                {but(read, logs), nil, "s3-public-acl high public-read"},
		"scan: writable ACL":              {but(read, write), nil, "s3-public-acl critical public-read,public-write"},
		"scan: public policy":             {but(withPolicy(true, tlsOnly, world1)), nil, "s3-public-policy high public-read"},
		"scan: writable policy":           {but(withPolicy(true, world2)), nil, "s3-public-policy critical public-write"},
		"scan: only for an office":        {but(withPolicy(true, world2, officeOnly)), nil, "s3-public-policy critical public-write ?"},
		"scan: all but one denied":        {but(withPolicy(true, world1, allButOne)), nil, "s3-public-policy high public-read ?"},
		"scan: something else is denied":  {but(withPolicy(true, world1, noDelete, tlsOnly)), nil, "s3-public-policy high public-read"},
		"scan: both":                      {but(read, withPolicy(true, world2)), nil, "s3-public-acl high public-read; s3-public-policy critical public-write"},
		"scan: S3 does not agree":         {but(withPolicy(false, world1)), nil, "s3-public-policy high public-read ?"},
		"scan: public for no reason":      {but(withPolicy(true, partner)), nil, "s3-block-public-access high unblocked,public-read ?"},
		"scan: policy can't be read":      {but(func(s *playbooks.BucketState) { s.Policy, s.PolicyPublic = new(string), true }), nil, "s3-block-public-access high unblocked,public-read ?"},
		"scan: ACL ignored":               {but(read, blocked(remediation.BlockFlags{IgnorePublicAcls: true})), nil, ""},
		"scan: ACL refused, yet there":    {but(read, blocked(remediation.BlockFlags{BlockPublicAcls: true})), nil, "s3-public-acl high public-read"},
		"scan: ACL ignored by account":    {but(read, accountBlocked(remediation.BlockFlags{IgnorePublicAcls: true})), nil, ""},
		"scan: ACLs have no effect":       {but(read, enforced), nil, ""},
		"scan: policy restricted":         {but(withPolicy(true, world1), blocked(remediation.BlockFlags{RestrictPublicBuckets: true})), nil, ""},
		"scan: policy refused, yet there": {but(withPolicy(true, world1), blocked(remediation.BlockFlags{BlockPublicPolicy: true})), nil, "s3-public-policy high public-read"},
		"scan: restricted by account":     {but(withPolicy(true, partner), accountBlocked(allFlags)), nil, ""},
		"scan: account unknown":           {but(read, unread), nil, "s3-public-acl high public-read ?"},

		"ACL put":                      {but(read), readPut, "s3-public-acl high public-read"},
		"ACL put, more by others":      {but(read, write), readPut, "s3-public-acl high public-read"},
		"ACL put, gone":                {but(logs), readPut, ""},
		"ACL put, unread":              {but(write), unreadPut, "s3-public-acl critical public-write"},
		"ACL put, partly unread":       {but(read, write), partlyPut, "s3-public-acl critical public-read,public-write"},
		"ACL put, unread and private":  {but(logs), unreadPut, ""},
		"ACL put, policy public":       {but(withPolicy(true, world1)), readPut, ""},
		"policy put":                   {but(withPolicy(true, tlsOnly, world1)), policyPut, "s3-public-policy high public-read"},
		"policy put, more since":       {but(withPolicy(true, world1, world2)), policyPut, "s3-public-policy high public-read"},
		"policy put, replaced":         {but(withPolicy(true, world2)), policyPut, "s3-public-policy critical public-write ?"},
		"policy put, S3 says public":   {but(withPolicy(true, partner)), put("PutBucketPolicy", remediation.Change{Policy: json.RawMessage(policyOf(bucket().Bucket, partner))}), "s3-block-public-access high unblocked,public-read ?"},
		"policy put, left out":         {but(withPolicy(true, world1)), put("PutBucketPolicy", remediation.Change{}), "s3-public-policy high public-read"},
		"policy put, harmless":         {but(withPolicy(false, tlsOnly, partner)), put("PutBucketPolicy", remediation.Change{}), ""},
		"policy put, gone":             {bucket(), policyPut, ""},
		"policy put, ACL public":       {but(read), policyPut, ""},
		"Config, no reason: ACL":       {but(read), config, "s3-public-acl high public-read"},
		"Config, no reason: policy":    {but(withPolicy(true, world1)), config, "s3-public-policy high public-read"},
		"Config, no reason: neither":   {bucket(), config, "s3-block-public-access medium unblocked"},
		"Config, no reason: blocked":   {but(blocked(allFlags)), config, ""},
		"Config, no reason: S3 says":   {but(withPolicy(true, partner)), config, "s3-block-public-access high unblocked,public-read ?"},
		"Config, ACL: it is":           {but(read), annotated, "s3-public-acl high public-read"},
		"Config, ACL: policy too":      {but(read, withPolicy(true, world1)), annotated, "s3-public-acl high public-read; s3-public-policy high public-read"},
		"Config, ACL: safe by now":     {bucket(), annotated, ""},
		"block deleted":                {bucket(), after("DeleteBucketPublicAccessBlock", block), "s3-block-public-access medium unblocked"},
		"block deleted, put again":     {but(blocked(allFlags)), after("DeleteBucketPublicAccessBlock", block), ""},
		"block deleted, account holds": {but(accountBlocked(allFlags)), after("DeleteBucketPublicAccessBlock", block), "s3-block-public-access low unblocked"},
		"block deleted, public ACL":    {but(read), after("DeleteBucketPublicAccessBlock", block), "s3-block-public-access high unblocked,public-read"},
		"block loosened, open policy":  {but(withPolicy(true, world2), blocked(remediation.BlockFlags{IgnorePublicAcls: true})), after("PutBucketPublicAccessBlock", block), "s3-block-public-access critical unblocked,public-write"},
		"bucket created public":        {but(read), after("CreateBucket", acl), "s3-public-acl high public-read"},
		"bucket created private":       {bucket(), after("CreateBucket", acl), ""},
		"ACLs on again":                {bucket(), after("PutBucketOwnershipControls", acl), "s3-block-public-access medium unblocked"},
		"ACLs on again, one is public": {but(read), after("DeleteBucketOwnershipControls", acl), "s3-public-acl high public-read; s3-block-public-access medium unblocked"},
		"ACLs on again, ignored":       {but(blocked(remediation.BlockFlags{IgnorePublicAcls: true})), after("DeleteBucketOwnershipControls", acl), ""},
		"ACLs on again and off":        {but(read, enforced), after("PutBucketOwnershipControls", acl), ""},
		"a website":                    {but(read, website), readPut, "s3-public-acl high public-read ?"},
		"a writable website":           {but(read, write, website), nil, "s3-public-acl critical public-read,public-write"},
		"tagged public":                {but(withPolicy(true, world1), tagged("true")), policyPut, "s3-public-policy high public-read ?"},
		"tagged not public":            {but(withPolicy(true, world1), tagged("false")), policyPut, "s3-public-policy high public-read"},
		"unblocked website":            {but(website), after("DeleteBucketPublicAccessBlock", block), "s3-block-public-access medium unblocked ?"},
		"something else happened":      {but(read, withPolicy(true, world1)), after("PutBucketTagging"), ""},
	} {
		var got []string
		for _, pb := range playbooks.All(playbooks.Clients{}) {
			for _, f := range pb.Judge(tc.state, tc.sig) {
				got = append(got, describe(f))
				checkFinding(t, name, tc.state, tc.sig, f)
			}
		}
		if text := strings.Join(got, "; "); text != tc.want {
			t.Errorf("%s:\n got %q\nwant %q", name, text, tc.want)
		}
	}
}

func describe(f remediation.Finding) string {
	var open []string
	for _, o := range f.Openness {
		open = append(open, string(o))
	}
	text := f.Playbook + " " + string(f.Severity) + " " + strings.Join(open, ",")
	if f.Doubt != "" {
		text += " ?"
	}
	return text
}

func checkFinding(t *testing.T, name string, s *playbooks.BucketState, sig *remediation.Signal, f remediation.Finding) {
	t.Helper()
	if f.Resource != s.Bucket || f.Name != "reports" || f.Tags["env"] != "prod" {
		t.Errorf("%s: %+v", name, f)
	}
	if sig != nil && (f.Event != sig.Kind || f.EventID != sig.EventID) {
		t.Errorf("%s: the event is not told: %+v", name, f)
	}
}

// TestFlagsThatAreOff are told, so that each loosening is a finding of its own.
func TestFlagsThatAreOff(t *testing.T) {
	env := remediation.Environment{Playbooks: playbooks.All(playbooks.Clients{})}
	one := remediation.BlockFlags{BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true}
	account := remediation.Ref{Kind: remediation.KindAccount, Account: "111122223333", ID: "111122223333"}
	sig := after("PutBucketPublicAccessBlock", block)
	sig.Change.Block = &one
	for what, f := range map[string][]remediation.Finding{
		"bucket":         env.Playbook(block).Judge(but(blocked(one)), sig),
		"bucket claimed": env.Playbook(block).Claim(*sig),
		"account":        env.Playbook("s3-account-block-public-access").Judge(&playbooks.AccountState{Account: account, Block: &one}, nil),
		"account claimed": env.Playbook("s3-account-block-public-access").Claim(remediation.Signal{Kind: "PutAccountPublicAccessBlock", Resource: account,
			Change: sig.Change}),
	} {
		if len(f) != 1 || !slices.Equal(f[0].Off, []string{"RestrictPublicBuckets"}) {
			t.Errorf("%s: %+v", what, f)
		}
	}
	if f := env.Playbook(block).Judge(bucket(), after("DeleteBucketPublicAccessBlock", block)); len(f) != 1 || len(f[0].Off) != 4 {
		t.Errorf("deleted: %+v", f)
	}
}

func TestBucketNotes(t *testing.T) {
	s := but(granting("global/AllUsers", "READ"), website)
	s.Tags = map[string]string{"Public": "yes"}
	f := playbooks.All(playbooks.Clients{})[0].Judge(s, nil)[0]
	all := strings.Join(f.Notes, "; ")
	if !strings.Contains(all, "website") || !strings.Contains(all, "Public=yes") {
		t.Errorf("notes %q", f.Notes)
	}
}

func TestPlanBuckets(t *testing.T) {
	env := remediation.Environment{Playbooks: playbooks.All(playbooks.Clients{})}
	for _, id := range []string{acl, pol, block} {
		f := remediation.Finding{Playbook: id}
		if _, err := env.Playbook(id).Plan(but(blocked(allFlags)), f); !errors.Is(err, remediation.ErrNothingToDo) {
			t.Errorf("%s: plan of a safe bucket: %v", id, err)
		}
		if _, err := env.Playbook(id).Plan(group(), f); err == nil {
			t.Errorf("%s: a group was taken for a bucket", id)
		}
	}
	p, err := env.Playbook(pol).Plan(but(withPolicy(true, world1)), remediation.Finding{Playbook: pol})
	if err != nil || p.Steps[0].Action != "s3:DeleteBucketPolicy" {
		t.Errorf("a policy of nothing else: %v %+v", err, p.Steps)
	}
	p, err = env.Playbook(pol).Plan(but(withPolicy(true, world1, tlsOnly)), remediation.Finding{Playbook: pol})
	if err != nil || p.Steps[0].Action != "s3:PutBucketPolicy" {
		t.Errorf("a policy of more: %v %+v", err, p.Steps)
	}
	p, err = env.Playbook(block).Plan(but(blocked(remediation.BlockFlags{IgnorePublicAcls: true})), remediation.Finding{Playbook: block})
	want := []remediation.DiffLine{
		{Op: "-", Text: "BlockPublicAcls off"}, {Op: " ", Text: "IgnorePublicAcls on"},
		{Op: "-", Text: "BlockPublicPolicy off"}, {Op: "-", Text: "RestrictPublicBuckets off"},
		{Op: "+", Text: "BlockPublicAcls on"}, {Op: "+", Text: "BlockPublicPolicy on"}, {Op: "+", Text: "RestrictPublicBuckets on"},
	}
	if err != nil || !slices.Equal(p.Diff, want) {
		t.Errorf("diff of the block: %v %v", err, p.Diff)
	}
}

func TestClaims(t *testing.T) {
	everybody := remediation.Grant{Grantee: "AllUsers", Permission: "WRITE", Openness: remediation.PublicWrite}
	config := after("PutEvaluations", acl, pol)
	config.Change.Openness = []remediation.Openness{remediation.PublicRead}
	unsaid := after("Config Rules Compliance Change", block)
	unsaid.Change.Openness = []remediation.Openness{remediation.PublicWrite}
	aclPut := put("PutBucketAcl", remediation.Change{Grants: []remediation.Grant{everybody}})
	aclPut.Playbooks = []string{acl}
	policyPut := put("PutBucketPolicy", remediation.Change{Policy: json.RawMessage(policyOf(bucket().Bucket, tlsOnly, world1))})
	policyPut.Playbooks = []string{pol}
	harmless := put("PutBucketPolicy", remediation.Change{Policy: json.RawMessage(policyOf(bucket().Bucket, partner))})
	harmless.Playbooks = []string{pol}
	ssh := added(in("sgr-1", "tcp", 22, "0.0.0.0/0"), in("sgr-2", "tcp", 22, "10.0.0.0/8"))
	for name, tc := range map[string]struct {
		sig  *remediation.Signal
		want string
	}{
		"ACL":                {aclPut, "s3-public-acl critical public-write"},
		"policy":             {policyPut, "s3-public-policy high public-read"},
		"policy, not public": {harmless, ""},
		"Config, both":       {config, "s3-public-acl high public-read; s3-public-policy high public-read"},
		"Config, unsaid":     {unsaid, "s3-block-public-access critical public-write"},
		"block":              {after("DeleteBucketPublicAccessBlock", block), "s3-block-public-access medium unblocked"},
		"rules":              {ssh, "sg-rule-added critical "},
		"not for us":         {after("PutBucketAcl"), ""},
	} {
		var got []string
		for _, f := range playbooks.Claims(*tc.sig) {
			got = append(got, describe(f))
			if f.Resource != tc.sig.Resource || f.EventID != tc.sig.EventID {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if text := strings.Join(got, "; "); text != tc.want {
			t.Errorf("%s: %q, want %q", name, text, tc.want)
		}
	}
	f := playbooks.Claims(*ssh)[0]
	if f.Rules[0].Openness != remediation.OpenWorld || f.Rules[1].Openness != remediation.OpenPrivate || f.Rules[1].Severity != remediation.SeverityLow {
		t.Errorf("rules %+v", f.Rules)
	}
}

func TestMetas(t *testing.T) {
	want := []string{acl, pol, block, "s3-account-block-public-access", "sg-rule-added", "sg-rule-removed", "sg-rule-modified", "sg-created", "sg-deleted"}
	var got []string
	for _, m := range playbooks.Metas() {
		got = append(got, m.ID)
		l := m.Labels
		for _, text := range []string{m.Title, l.Fixed, l.Ask, l.Confirm, l.Undo} {
			if text == "" || len(text) > 150 {
				t.Errorf("%s: text of %d characters: %q", m.ID, len(text), text)
			}
		}
		actions := slices.Clone(m.Permissions)
		slices.Sort(actions)
		if len(slices.Compact(actions)) != len(m.Permissions) || !m.Undoable || len(m.Handles) == 0 {
			t.Errorf("%+v", m)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("playbooks %q, want %q", got, want)
	}
	readers := playbooks.Readers(playbooks.Clients{})
	for _, m := range playbooks.Metas() {
		if readers[m.Kind] == nil {
			t.Errorf("nothing reads a %s", m.Kind)
		}
	}
}
