package playbooks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"secbot/internal/sgrule"
	"secbot/remediation"
)

type prefixListAPI interface {
	GetManagedPrefixListEntries(ctx context.Context, in *ec2.GetManagedPrefixListEntriesInput, opts ...func(*ec2.Options)) (*ec2.GetManagedPrefixListEntriesOutput, error)
}

const (
	// entriesPage is how many entries of a prefix list are asked for at once, the
	// most that EC2 gives.
	entriesPage = 100
	// maxEntries is more than a prefix list can hold ("Amazon VPC quotas").
	maxEntries = 10_000
)

// PrefixList is what a prefix list holds, which a rule that names it lets in.
type PrefixList struct {
	CIDRs  []string `json:"cidrs,omitempty"`
	Unread string   `json:"unread,omitempty"` // why nobody knows; empty where it was read
}

// prefixLists reads the lists that the rules name, in known those that were read
// before. One that can't be read says why.
func prefixLists(ctx context.Context, api prefixListAPI, ref remediation.Ref, rules []remediation.Rule, known map[string]PrefixList) map[string]PrefixList {
	lists := maps.Clone(known)
	for _, r := range rules {
		if _, read := lists[r.PrefixList]; read || r.PrefixList == "" {
			continue
		}
		if lists == nil {
			lists = map[string]PrefixList{}
		}
		cidrs, err := listEntries(ctx, api, ref, r.PrefixList)
		if err != nil {
			lists[r.PrefixList] = PrefixList{Unread: err.Error()}
			continue
		}
		lists[r.PrefixList] = PrefixList{CIDRs: cidrs}
	}
	return lists
}

// listEntries are the ranges of a prefix list, a customer's or AWS's own.
func listEntries(ctx context.Context, api prefixListAPI, ref remediation.Ref, id string) ([]string, error) {
	var cidrs []string
	pages := ec2.NewGetManagedPrefixListEntriesPaginator(api, &ec2.GetManagedPrefixListEntriesInput{PrefixListId: &id, MaxResults: aws.Int32(entriesPage)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, ec2Region(ref))
		if err != nil {
			return nil, callError(err, remediation.Ref{Kind: ref.Kind, ID: id}, "GetManagedPrefixListEntries", "ec2:GetManagedPrefixListEntries")
		}
		for _, e := range page.Entries {
			cidr, err := sgrule.CIDR(aws.ToString(e.Cidr))
			if err != nil {
				return nil, err
			}
			cidrs = append(cidrs, cidr)
		}
		if len(cidrs) > maxEntries {
			return nil, errors.New("it holds more entries than any list can")
		}
	}
	slices.Sort(cidrs)
	return cidrs, nil
}

// rangesOf are the addresses that a rule is about. unread says why nobody knows
// what its prefix list holds.
func rangesOf(r remediation.Rule, lists map[string]PrefixList) (ranges []netip.Prefix, unread string) {
	cidrs := []string{r.CIDR}
	switch {
	case r.PrefixList != "":
		l, known := lists[r.PrefixList]
		if !known {
			return nil, "nobody has looked"
		}
		if l.Unread != "" {
			return nil, l.Unread
		}
		cidrs = l.CIDRs
	case r.CIDR == "":
		return nil, "" // another group
	}
	for _, c := range cidrs {
		p, err := netip.ParsePrefix(c)
		if err != nil {
			return nil, err.Error() // only an event can hold such text, and an event alone decides nothing
		}
		ranges = append(ranges, p.Masked())
	}
	return ranges, ""
}

// listNotes tell what the prefix lists of rules hold.
func listNotes(rules []remediation.Rule, lists map[string]PrefixList) []string {
	var notes []string
	for _, r := range rules {
		if l, ok := lists[r.PrefixList]; ok && l.Unread == "" {
			notes = append(notes, fmt.Sprintf("prefix list %s holds %d ranges: %s", r.PrefixList, len(l.CIDRs), some(l.CIDRs)))
		}
	}
	return sortedOnce(notes)
}

// listDoubt says which prefix lists of rules could not be read, so that they
// count as wide; empty for none.
func listDoubt(rules []remediation.Rule, lists map[string]PrefixList) string {
	var doubts []string
	for _, r := range rules {
		if _, unread := rangesOf(r, lists); r.PrefixList != "" && unread != "" {
			doubts = append(doubts, fmt.Sprintf("what prefix list %s holds is not known, so that it counts as wide: %s", r.PrefixList, unread))
		}
	}
	return joinText(sortedOnce(doubts))
}
