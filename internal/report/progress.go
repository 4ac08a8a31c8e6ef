package report

import (
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"secbot/internal/coverage"
)

// Progress is a line on a terminal that tells how far a scan has come: what is
// done and found, and how fast; the time left once everything is listed.
type Progress struct {
	lists int
	now   func() time.Time
	began time.Time
	bars  *mpb.Progress
	bar   *mpb.Bar

	mu     sync.Mutex
	found  int
	counts coverage.Counts
}

// StartProgress draws on w, a terminal, until Stop. The scan begins with so many
// lists.
func StartProgress(w io.Writer, lists int, now func() time.Time) *Progress {
	p := &Progress{lists: lists, now: now, began: now()}
	p.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(24), mpb.ForceAutoRefresh())
	// Without a total of its own the bar does not end when it catches up with what
	// is listed so far.
	p.bar = p.bars.New(0, mpb.BarStyle().Lbound("▕").Filler("█").Tip("█").Padding("░").Rbound("▏"), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name("scanning ")), mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + p.String() })))
	return p
}

// Found tells that there is another finding.
func (p *Progress) Found() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found++
}

// Changed tells how far the scan has come.
func (p *Progress) Changed(c coverage.Counts) {
	p.mu.Lock()
	p.counts = c
	p.mu.Unlock()
	if p.listed(c) {
		p.bar.SetTotal(int64(c.Listed), false)
	}
	p.bar.SetCurrent(int64(c.Done))
}

func (p *Progress) listed(c coverage.Counts) bool { return c.Lists >= p.lists && c.Listed > 0 }

// String is what stands beside the bar, as "120 of 340, 35/s, 6s left, 3 found".
func (p *Progress) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	s := fmt.Sprintf("%d", c.Done)
	if p.listed(c) {
		s += fmt.Sprintf(" of %d", c.Listed)
	}
	rate := float64(c.Done) / p.now().Sub(p.began).Seconds()
	if c.Done > 0 && !math.IsInf(rate, 0) {
		s += fmt.Sprintf(", %.3g/s", rate)
		if p.listed(c) {
			left := time.Duration(float64(c.Listed-c.Done) / rate * float64(time.Second))
			s += ", " + left.Round(time.Second).String() + " left"
		}
	}
	s += fmt.Sprintf(", %d found", p.found)
	if c.Denied > 0 {
		s += fmt.Sprintf(", %d could not be read", c.Denied)
	}
	return s
}

// Stop takes the line away.
func (p *Progress) Stop() {
	p.bar.Abort(true)
	p.bars.Wait()
}
