// Package doctor looks for what an installation of secbot lacks, and says how to mend
// it. It changes nothing anywhere.
package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Status is what a check has found.
type Status string

// What checks find. Only a Fault needs mending.
const (
	OK      Status = "ok"
	Fault   Status = "fault"
	Unknown Status = "unknown" // could not be found out
	Skipped Status = "skipped" // is not used
)

// Result is one line of what was found.
type Result struct {
	Check  string `json:"check"` // what was looked at: "bot token"
	Status Status `json:"status"`
	Found  string `json:"found"`          // in one sentence, without a full stop
	Mend   string `json:"mend,omitempty"` // what to do about it
}

// Check looks at one thing and gives what it has found.
type Check func(ctx context.Context) []Result

func good(check, format string, args ...any) Result {
	return Result{Check: check, Status: OK, Found: fmt.Sprintf(format, args...)}
}

func fault(check, found, mend string) Result {
	return Result{Check: check, Status: Fault, Found: found, Mend: mend}
}

func unknown(check, found, mend string) Result {
	return Result{Check: check, Status: Unknown, Found: found, Mend: mend}
}

func skipped(check, found string) Result {
	return Result{Check: check, Status: Skipped, Found: found}
}

// checkWithin bounds one check.
const checkWithin = 30 * time.Second

// Run makes all checks at once and gives what they have found in their order.
func Run(ctx context.Context, checks ...Check) []Result {
	found := make([][]Result, len(checks))
	var running sync.WaitGroup
	for i, check := range checks {
		running.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, checkWithin)
			defer cancel()
			found[i] = check(ctx)
		})
	}
	running.Wait()
	var all []Result
	for _, some := range found {
		all = append(all, some...)
	}
	return all
}

// Print writes a line for each result, and one for what to do about it; or with
// asJSON an object a line. It gives how many faults there are.
func Print(out io.Writer, results []Result, asJSON bool) (faults int, err error) {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for _, r := range results {
		if r.Status == Fault {
			faults++
		}
		if asJSON {
			err = cmp.Or(err, enc.Encode(r))
			continue
		}
		_, printErr := fmt.Fprintf(out, "%-8s%s: %s\n", r.mark(), r.Check, r.Found)
		err = cmp.Or(err, printErr)
		if r.Mend != "" {
			_, printErr = fmt.Fprintf(out, "%-8s→ %s\n", "", r.Mend)
			err = cmp.Or(err, printErr)
		}
	}
	return faults, err
}

func (r Result) mark() string {
	switch r.Status {
	case OK:
		return "ok"
	case Fault:
		return "FAULT"
	case Unknown:
		return "?"
	}
	return "-"
}
