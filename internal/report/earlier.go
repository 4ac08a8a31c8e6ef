package report

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"secbot/events"
	"secbot/internal/atomicfile"
	"secbot/remediation"
)

// Bounds of what is kept of a scan and read again.
const (
	maxEarlier = 64 << 20 // bytes of a file
	maxKept    = 20_000   // findings
)

// ErrNoEarlier says that no earlier scan was kept.
var ErrNoEarlier = errors.New("no earlier scan of this account and scope was kept")

// Earlier is what an earlier scan has found.
type Earlier struct {
	What string // which scan that is
	Rows []Row
	keys bool // the rows have keys, which tell more than their shape
}

// Compare marks r's rows, and keeps in r.Since what is not among them any more.
// known says whether the scan can tell how a resource is now.
func (r *Report) Compare(e *Earlier, known func(remediation.Ref) bool) {
	id := func(row Row) string { return shape(row.Finding) }
	if e.keys {
		id = func(row Row) string { return row.Key }
	}
	before, now := map[string]bool{}, map[string]bool{}
	for _, row := range e.Rows {
		before[id(row)] = true
	}
	for i := range r.Rows {
		r.Rows[i].Change = New
		if before[id(r.Rows[i])] {
			r.Rows[i].Change = Unchanged
		}
		now[id(r.Rows[i])] = true
	}
	r.Since = &Since{What: e.What}
	for _, row := range e.Rows {
		row.Decision = remediation.Decision{}
		switch {
		case now[id(row)]:
		case known(row.Finding.Resource):
			row.Change = Gone
			r.Since.Gone = append(r.Since.Gone, row)
		default:
			row.Change = Unknown
			r.Since.Unknown = append(r.Since.Unknown, row)
		}
	}
	Sort(r.Since.Gone)
	Sort(r.Since.Unknown)
}

// ReadEarlier reads what `secbot scan --json` has printed. What was gone by then
// is left out.
func ReadEarlier(path string, metas []remediation.Meta) (*Earlier, error) {
	raw, err := readFile(path)
	if err != nil {
		return nil, err
	}
	e := &Earlier{What: filepath.Base(path)}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, maxEarlier)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		f, beside, err := events.ParseScanned(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if len(e.Rows) == maxKept {
			return nil, fmt.Errorf("%s has more than %d findings: compare less at once (s3, sg)", path, maxKept)
		}
		if i := slices.IndexFunc(metas, func(m remediation.Meta) bool { return m.ID == f.Playbook }); i >= 0 {
			f.Resource.Kind = metas[i].Kind
		}
		if Change(beside.Change) != Gone {
			e.Rows = append(e.Rows, Row{Finding: f})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return e, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read an earlier scan: %w", err)
	}
	defer func() { _ = f.Close() }() // of what was only read
	raw, err := io.ReadAll(io.LimitReader(f, maxEarlier+1))
	if err != nil {
		return nil, fmt.Errorf("read an earlier scan: %w", err)
	}
	if len(raw) > maxEarlier {
		return nil, fmt.Errorf("%s has more than %d MB, so it is not read", path, maxEarlier>>20)
	}
	return raw, nil
}

// keptVersion is that of the form of kept scans. Others are not read.
const keptVersion = 1

type kept struct {
	Version int       `json:"version"`
	Account string    `json:"account"`
	Scope   string    `json:"scope"`
	At      time.Time `json:"at"`
	Rows    []keptRow `json:"rows"`
}

type keptRow struct {
	Key     string              `json:"key"`
	Finding remediation.Finding `json:"finding"`
}

// LastPath is where in dir the last scan of an account and scope is kept. endpoint
// is another AWS than Amazon's; empty for Amazon's.
func LastPath(dir, endpoint, account, scope string) string {
	name := "scan-" + account + "-" + scope
	if endpoint != "" {
		name += "-" + strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
				return r
			}
			return '_'
		}, clip(strings.ToLower(endpoint), 100))
	}
	return filepath.Join(dir, name+".json")
}

// ReadLast reads a scan that Keep has kept. It returns ErrNoEarlier where there is
// none.
func ReadLast(path string) (*Earlier, error) {
	raw, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoEarlier
	}
	if err != nil {
		return nil, err
	}
	var k kept
	if err := json.Unmarshal(raw, &k); err != nil {
		return nil, fmt.Errorf("the last scan can't be read, and the next is compared with this one: %s: %w", path, err)
	}
	if k.Version != keptVersion {
		return nil, fmt.Errorf("the last scan was kept by another version of secbot, and the next is compared with this one: %s", path)
	}
	e := &Earlier{What: "the scan of " + k.At.UTC().Format("2006-01-02 15:04 UTC"), keys: true}
	for _, row := range k.Rows {
		e.Rows = append(e.Rows, Row{Finding: row.Finding, Key: row.Key})
	}
	return e, nil
}

// Keep keeps the scan at path for ReadLast, for its owner alone. What e, the one
// that was kept before, has found and this one could not look at stays; e may be
// nil.
func (r *Report) Keep(path string, e *Earlier, known func(remediation.Ref) bool) error {
	k := kept{Version: keptVersion, Account: r.Account, Scope: r.Scope, At: r.Started}
	has := map[string]bool{}
	for _, row := range r.Rows {
		has[row.Key] = true
		k.Rows = append(k.Rows, keptRow{row.Key, row.Finding})
	}
	for _, row := range cmp.Or(e, &Earlier{}).Rows {
		if !has[row.Key] && !known(row.Finding.Resource) {
			k.Rows = append(k.Rows, keptRow{row.Key, row.Finding})
		}
	}
	if len(k.Rows) > maxKept {
		return fmt.Errorf("the scan was not kept for --diff: it has %d findings, and %d are the most", len(k.Rows), maxKept)
	}
	raw, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("keep the scan: %w", err)
	}
	if len(raw) > maxEarlier {
		return fmt.Errorf("the scan was not kept for --diff: it has %d MB, and %d are the most", len(raw)>>20, maxEarlier>>20)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the scan: %w", err)
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return fmt.Errorf("keep the scan: %w", err)
	}
	if _, err := f.Write(raw); err != nil {
		return errors.Join(fmt.Errorf("keep the scan: %w", err), f.Drop())
	}
	return f.Keep()
}
