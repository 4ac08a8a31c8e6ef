package fakeaws

import (
	"maps"
	"slices"
)

// past is what was there before the last change: of each security group and
// each bucket. nil stands for what was not there.
type past struct {
	groups  map[regionKey]map[string]*group
	buckets map[string]*bucket
}

// inTime runs an operation on what is there now or, for a stale read, on what
// was there before the last change. The caller holds the lock.
func (a *AWS) inTime(x *exchange, op *operation, stale bool) (*result, error) {
	if op.event == "" {
		if stale {
			defer a.goBack(x)()
		}
		return op.run(x)
	}
	keep := a.photograph(x)
	res, err := op.run(x)
	if err == nil {
		keep()
	}
	return res, err
}

// photograph copies what a changing call is about. The function that it gives
// keeps the copy.
func (a *AWS) photograph(x *exchange) (keep func()) {
	switch x.Service {
	case "ec2":
		r, id := a.here(x), x.Resource
		old := r.groups[id].clone()
		return func() {
			if a.before.groups[r.key] == nil {
				a.before.groups[r.key] = map[string]*group{}
			}
			if id != "" {
				a.before.groups[r.key][id] = old
			}
		}
	case "s3":
		old := a.buckets[x.bucket].clone()
		return func() { a.before.buckets[x.bucket] = old }
	}
	return func() {}
}

// goBack puts the past in the place of the present until the function that it
// gives is called.
func (a *AWS) goBack(x *exchange) (comeForth func()) {
	switch x.Service {
	case "ec2":
		r := a.here(x)
		now := r.groups
		r.groups = overlaid(now, a.before.groups[r.key])
		return func() { r.groups = now }
	case "s3":
		now := a.buckets
		a.buckets = overlaid(now, a.before.buckets)
		return func() { a.buckets = now }
	}
	return func() {}
}

// overlaid is now with what was before in its place.
func overlaid[T any](now, before map[string]*T) map[string]*T {
	all := maps.Clone(now)
	for id, old := range before {
		all[id] = old
		if old == nil {
			delete(all, id)
		}
	}
	return all
}

func (g *group) clone() *group {
	if g == nil {
		return nil
	}
	c := *g
	c.tags, c.rules = maps.Clone(g.tags), slices.Clone(g.rules)
	for i, r := range c.rules {
		one := *r
		one.tags = maps.Clone(r.tags)
		c.rules[i] = &one
	}
	return &c
}

func (b *bucket) clone() *bucket {
	if b == nil {
		return nil
	}
	c := *b
	c.acl, c.policy, c.website, c.tags = slices.Clone(b.acl), slices.Clone(b.policy), slices.Clone(b.website), maps.Clone(b.tags)
	if b.block != nil {
		block := *b.block
		c.block = &block
	}
	return &c
}
