package nearest_test

import (
	"strings"
	"testing"

	"secbot/internal/nearest"
)

func TestWord(t *testing.T) {
	known := []string{"scan", "sg", "show", "incidents", "match"}
	for typed, want := range map[string]string{
		"scna": "scan", "SCAN": "scan", "incidnets": "incidents", "shw": "show", "metch": "match",
		"": "", "gs": "", "a": "", "banana": "", "show me": "", strings.Repeat("scan", 1000): "",
	} {
		if got := nearest.Word(typed, known); got != want {
			t.Errorf("%.20q: %q, want %q", typed, got, want)
		}
	}
}
