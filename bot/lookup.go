package bot

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"secbot/remediation"
)

const (
	// shortID is how many characters of an id lists show: the last ones, since
	// the first are the time.
	shortID = 8
	// minShortID is how many characters of an id people must type.
	minShortID = 6
	// searched is how many incidents, the newest first, a part of an id is
	// looked for in.
	searched = 500
)

// short gives the part of an id that lists show.
func short(id string) string {
	if len(id) <= shortID {
		return id
	}
	return id[len(id)-shortID:]
}

// ambiguousError says that a part of an id fits several incidents.
type ambiguousError struct {
	part  string
	found []*remediation.Incident
}

// Error lists the ids.
func (e *ambiguousError) Error() string {
	var ids []string
	for _, inc := range e.found {
		ids = append(ids, inc.ID)
	}
	return fmt.Sprintf("%q may be any of %s; type more of it", e.part, cut(strings.Join(ids, ", "), 300))
}

// find reads an incident by its id, or by the beginning or end of the id among
// the newest incidents. It returns remediation.ErrNotFound or an
// *ambiguousError.
func find(ctx context.Context, store incidentReader, id string) (*remediation.Incident, error) {
	for _, exact := range []string{id, strings.ToUpper(id)} {
		inc, err := store.Incident(ctx, exact)
		if err == nil || !errors.Is(err, remediation.ErrNotFound) {
			return inc, err
		}
	}
	if len(id) >= len(exampleID) {
		return nil, remediation.ErrNotFound
	}
	recent, err := store.Incidents(ctx, remediation.IncidentQuery{Limit: searched})
	if err != nil {
		return nil, err
	}
	var found []*remediation.Incident
	part := strings.ToUpper(id)
	for _, inc := range recent {
		whole := strings.ToUpper(inc.ID)
		if strings.HasPrefix(whole, part) || strings.HasSuffix(whole, part) {
			found = append(found, inc)
		}
	}
	switch len(found) {
	case 0:
		return nil, remediation.ErrNotFound
	case 1:
		return found[0], nil
	}
	return nil, &ambiguousError{part: id, found: found}
}

// incidentReader is what is read of the store.
type incidentReader interface {
	Incident(ctx context.Context, id string) (*remediation.Incident, error)
	Incidents(ctx context.Context, q remediation.IncidentQuery) ([]*remediation.Incident, error)
}
