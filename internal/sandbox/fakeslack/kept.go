package fakeslack

// kept holds things given out under a secret id; of very many the oldest go.
type kept[T any] struct {
	most  int
	byID  map[string]*T
	order []string // the oldest first
}

func newKept[T any](most int) *kept[T] { return &kept[T]{most: most, byID: map[string]*T{}} }

func (k *kept[T]) add(id string, v *T) {
	if len(k.order) == k.most {
		delete(k.byID, k.order[0])
		k.order = k.order[1:]
	}
	k.byID[id] = v
	k.order = append(k.order, id)
}

func (k *kept[T]) get(id string) (*T, bool) {
	v, ok := k.byID[id]
	return v, ok
}
