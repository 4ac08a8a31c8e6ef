package fakeaws

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Block is a Block Public Access configuration, of a bucket or an account.
type Block struct {
	BlockPublicAcls       bool `json:"block_public_acls"`
	IgnorePublicAcls      bool `json:"ignore_public_acls"`
	BlockPublicPolicy     bool `json:"block_public_policy"`
	RestrictPublicBuckets bool `json:"restrict_public_buckets"`
}

// bucket is a bucket's configuration.
type bucket struct {
	name, account, region string
	created               time.Time
	ownership             string // empty: no ownership controls
	acl                   []Grant
	policy                []byte // nil: none
	block                 *Block // nil: none
	tags                  map[string]string
	website               []byte // nil: none
}

// The kinds of object ownership.
const (
	ownerEnforced  = "BucketOwnerEnforced"
	ownerPreferred = "BucketOwnerPreferred"
	objectWriter   = "ObjectWriter"
)

func (a *AWS) listBuckets(x *exchange) (*result, error) {
	type one struct {
		Name    string
		Created string `xml:"CreationDate"`
		Region  string `xml:"BucketRegion"`
	}
	type list struct {
		Owner   ownerXML
		Buckets struct{ Bucket []one }
		Next    string `xml:"ContinuationToken,omitempty"`
	}
	answer := list{Owner: ownerXML{ID: canonicalID(x.caller.Account)}}
	limit := len(a.buckets)
	if text := x.req.URL.Query().Get("max-buckets"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 10_000 {
			return nil, bad("InvalidArgument", "max-buckets must be between 1 and 10000")
		}
		limit = n
	}
	after := x.req.URL.Query().Get("continuation-token") // the name of the last bucket
	for _, name := range slices.Sorted(maps.Keys(a.buckets)) {
		b := a.buckets[name]
		if b.account != x.caller.Account || name <= after {
			continue
		}
		if list := answer.Buckets.Bucket; len(list) == limit {
			answer.Next = list[limit-1].Name
			break
		}
		answer.Buckets.Bucket = append(answer.Buckets.Bucket, one{name, stamp(b.created), b.region})
	}
	return &result{body: s3Named{"ListAllMyBucketsResult", answer}}, nil
}

// createBucket makes a bucket as they are since April 2023: Block Public Access
// on, and ACLs off unless the request asks for another ownership.
func (a *AWS) createBucket(x *exchange) (*result, error) {
	if !validBucketName(x.bucket) {
		return nil, bad("InvalidBucketName", "The specified bucket is not valid.")
	}
	if old := a.buckets[x.bucket]; old != nil {
		if old.account == x.caller.Account {
			return nil, failure(http.StatusConflict, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
		}
		return nil, failure(http.StatusConflict, "BucketAlreadyExists", "The requested bucket name is not available.")
	}
	where, err := wantedRegion(x)
	if err != nil {
		return nil, err
	}
	b := &bucket{
		name: x.bucket, account: x.caller.Account, region: where, created: x.now,
		ownership: cmp.Or(x.req.Header.Get("x-amz-object-ownership"), ownerEnforced),
		block:     &Block{true, true, true, true},
	}
	b.acl = []Grant{b.ownerGrant()}
	if !slices.Contains([]string{ownerEnforced, ownerPreferred, objectWriter}, b.ownership) {
		return nil, bad("InvalidArgument", "Invalid x-amz-object-ownership header: "+b.ownership)
	}
	if acl := x.req.Header.Get("x-amz-acl"); acl != "" && acl != "private" {
		if _, err := a.putACL(x, b); err != nil {
			return nil, err
		}
	}
	a.buckets[b.name] = b
	x.w.Header().Set("Location", "/"+b.name)
	return &result{}, nil
}

func wantedRegion(x *exchange) (string, error) {
	if len(x.body) == 0 {
		return x.Region, nil
	}
	var c struct{ LocationConstraint string }
	if err := decodeXML(x, &c); err != nil {
		return "", err
	}
	where := cmp.Or(c.LocationConstraint, x.Region)
	if where != x.Region && x.Region != "us-east-1" {
		return "", bad("IllegalLocationConstraintException", "The "+where+" location constraint is incompatible for the region specific endpoint this request was sent to.")
	}
	return where, nil
}

func (a *AWS) deleteBucket(_ *exchange, b *bucket) (*result, error) {
	delete(a.buckets, b.name)
	return &result{}, nil
}

func getLocation(_ *exchange, b *bucket) (*result, error) {
	where := b.region
	if where == "us-east-1" {
		where = ""
	}
	return &result{body: s3Named{"LocationConstraint", where}}, nil
}

func getBlock(_ *exchange, b *bucket) (*result, error) {
	if b.block == nil {
		return nil, noBlock()
	}
	return &result{body: s3Named{"PublicAccessBlockConfiguration", *b.block}}, nil
}

func noBlock() *Error {
	return absent("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found")
}

// putBlock replaces the whole configuration: a flag that is not given is off.
func putBlock(x *exchange, b *bucket) (*result, error) {
	var block Block
	if err := decodeXML(x, &block); err != nil {
		return nil, err
	}
	b.block = &block
	return &result{}, nil
}

func deleteBlock(_ *exchange, b *bucket) (*result, error) {
	b.block = nil
	return &result{}, nil
}

func blockParams(x *exchange) map[string]any {
	p := bucketParams("publicAccessBlock")(x)
	p["PublicAccessBlockConfiguration"] = blockElements(x)
	return p
}

func blockElements(x *exchange) map[string]any {
	var c Block
	if decodeXML(x, &c) != nil {
		return map[string]any{} // the call has failed; its event says so
	}
	return map[string]any{
		"xmlns":           s3Namespace,
		"BlockPublicAcls": c.BlockPublicAcls, "IgnorePublicAcls": c.IgnorePublicAcls,
		"BlockPublicPolicy": c.BlockPublicPolicy, "RestrictPublicBuckets": c.RestrictPublicBuckets,
	}
}

// blockFor is what holds for a bucket: its own block and the account's together.
func (a *AWS) blockFor(b *bucket) Block {
	var sum Block
	for _, c := range []*Block{b.block, a.blocks[b.account]} {
		if c != nil {
			sum.BlockPublicAcls = sum.BlockPublicAcls || c.BlockPublicAcls
			sum.IgnorePublicAcls = sum.IgnorePublicAcls || c.IgnorePublicAcls
			sum.BlockPublicPolicy = sum.BlockPublicPolicy || c.BlockPublicPolicy
			sum.RestrictPublicBuckets = sum.RestrictPublicBuckets || c.RestrictPublicBuckets
		}
	}
	return sum
}

type ownershipXML struct {
	Rule []struct{ ObjectOwnership string }
}

func getOwnership(_ *exchange, b *bucket) (*result, error) {
	if b.ownership == "" {
		return nil, absent("OwnershipControlsNotFoundError", "The bucket ownership controls were not found")
	}
	return &result{body: s3Named{"OwnershipControls", ownershipXML{[]struct{ ObjectOwnership string }{{b.ownership}}}}}, nil
}

func (a *AWS) putOwnership(x *exchange, b *bucket) (*result, error) {
	var c ownershipXML
	if err := decodeXML(x, &c); err != nil {
		return nil, err
	}
	if len(c.Rule) != 1 || !slices.Contains([]string{ownerEnforced, ownerPreferred, objectWriter}, c.Rule[0].ObjectOwnership) {
		return nil, bad("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	if c.Rule[0].ObjectOwnership == ownerEnforced && !slices.Equal(b.acl, []Grant{b.ownerGrant()}) {
		return nil, bad("InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
	}
	b.ownership = c.Rule[0].ObjectOwnership
	return &result{}, nil
}

type taggingXML struct {
	Tags []s3TagXML `xml:"TagSet>Tag"`
}

type s3TagXML struct{ Key, Value string }

func getTagging(_ *exchange, b *bucket) (*result, error) {
	if len(b.tags) == 0 {
		return nil, absent("NoSuchTagSet", "The TagSet does not exist")
	}
	var t taggingXML
	for _, k := range slices.Sorted(maps.Keys(b.tags)) {
		t.Tags = append(t.Tags, s3TagXML{k, b.tags[k]})
	}
	return &result{body: s3Named{"Tagging", t}}, nil
}

func putTagging(x *exchange, b *bucket) (*result, error) {
	var t taggingXML
	if err := decodeXML(x, &t); err != nil {
		return nil, err
	}
	x.status = http.StatusNoContent
	b.tags = map[string]string{}
	for _, one := range t.Tags {
		b.tags[one.Key] = one.Value
	}
	return &result{}, nil
}

// neverSet answers for the parts of a bucket's configuration that other scanners read
// and nothing here can set.
func neverSet() map[string]func(*exchange, *bucket) (*result, error) {
	empty := func(name string) func(*exchange, *bucket) (*result, error) {
		return func(*exchange, *bucket) (*result, error) { return &result{body: s3Named{name, struct{}{}}}, nil }
	}
	none := func(code, message string) func(*exchange, *bucket) (*result, error) {
		return func(*exchange, *bucket) (*result, error) { return nil, absent(code, message) }
	}
	return map[string]func(*exchange, *bucket) (*result, error){
		"GetBucketVersioning":                empty("VersioningConfiguration"),
		"GetBucketLogging":                   empty("BucketLoggingStatus"),
		"GetBucketNotificationConfiguration": empty("NotificationConfiguration"),
		"GetBucketReplication":               none("ReplicationConfigurationNotFoundError", "The replication configuration was not found"),
		"GetBucketLifecycleConfiguration":    none("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"),
	}
}

type websiteXML struct {
	Inner []byte `xml:",innerxml"`
}

func getWebsite(_ *exchange, b *bucket) (*result, error) {
	if b.website == nil {
		return nil, absent("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration")
	}
	return &result{body: s3Named{"WebsiteConfiguration", websiteXML{b.website}}}, nil
}

func putWebsite(x *exchange, b *bucket) (*result, error) {
	var w websiteXML
	if err := decodeXML(x, &w); err != nil {
		return nil, err
	}
	b.website = append([]byte{}, w.Inner...)
	return &result{}, nil
}
