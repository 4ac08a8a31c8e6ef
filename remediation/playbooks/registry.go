// Package playbooks holds the readers of AWS resources and the playbooks that
// judge and change them, one file each.
package playbooks

import (
	"slices"

	"secbot/remediation"
)

// All lists every playbook, bound to the clients, in the order in which they
// judge and are shown.
func All(c Clients) []remediation.Playbook {
	return []remediation.Playbook{
		publicACL{api: c.S3},
		publicPolicy{api: c.S3},
		blockPublicAccess{api: c.S3},
		accountBlock{api: c.S3Control},
		ruleAdded{ruleEditor{c.EC2}},
		ruleRemoved{ruleEditor{c.EC2}},
		ruleModified{api: c.EC2},
		groupCreated{newGroupMaker(c.EC2)},
		groupDeleted{newGroupMaker(c.EC2)},
	}
}

// Readers gives the reader of each kind of resource that a playbook judges.
func Readers(c Clients) map[remediation.Kind]remediation.Reader {
	buckets := &BucketReader{c: c}
	return map[remediation.Kind]remediation.Reader{
		remediation.KindAccount:       &AccountReader{c: c, owner: buckets.ownAccount},
		remediation.KindBucket:        buckets,
		remediation.KindSecurityGroup: &GroupReader{c: c},
	}
}

// Metas lists every playbook's description, in the registry's order.
func Metas() []remediation.Meta {
	var metas []remediation.Meta
	for _, p := range All(Clients{}) {
		metas = append(metas, p.Meta())
	}
	return metas
}

// Claims gives what the event alone claims, by the playbooks that it points to,
// in the registry's order. It calls nobody.
func Claims(sig remediation.Signal) []remediation.Finding {
	var claims []remediation.Finding
	for _, p := range All(Clients{}) {
		if slices.Contains(sig.Playbooks, p.Meta().ID) {
			claims = append(claims, p.Claim(sig)...)
		}
	}
	return claims
}
