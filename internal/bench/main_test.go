package main

import (
	"os"
	"regexp"
	"testing"
)

// TestPerformanceTellsEachPoint: the page has each point under its title with the
// command that measures it, and names no other.
func TestPerformanceTellsEachPoint(t *testing.T) {
	raw, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	told := regexp.MustCompile("(?m)^## (.*)\n\n`make bench POINTS=([a-z]+)`").FindAllStringSubmatch(string(raw), -1)
	if len(told) != len(points()) {
		t.Errorf("%d points are told of, want %d", len(told), len(points()))
	}
	for _, m := range told {
		chosen, err := choose([]string{m[2]})
		if err != nil || len(chosen) != 1 || chosen[0].title != m[1] {
			t.Errorf("%q is measured by %s: %v", m[1], m[2], err)
		}
	}
}

func TestUnknownPointsAreRefused(t *testing.T) {
	if chosen, err := choose([]string{"start", "moon"}); err == nil {
		t.Errorf("chose %v", chosen)
	}
	if chosen, err := choose(nil); err != nil || len(chosen) != len(points()) {
		t.Errorf("%d of %d points, %v", len(chosen), len(points()), err)
	}
}
