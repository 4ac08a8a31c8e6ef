package bot

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// TestCleanTextStays: text is on one line without doubled spaces, and only text
// that is so already is let be.
func TestCleanTextStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{" ", "a", "~", "\x7f", "\n", "é", "\xff", "\u202e", "\u00a0", "b c", "!", "\x00"}), 0, 8).Draw(t, "parts"), "")
		got := clean(s)
		for i, r := range got {
			if r == utf8.RuneError || !unicode.IsPrint(r) || r == ' ' && (i == 0 || i == len(got)-1 || got[i-1] == ' ') {
				t.Fatalf("%q becomes %q", s, got)
			}
		}
		if clean(got) != got {
			t.Fatalf("%q becomes %q, and that %q", s, got, clean(got))
		}
		keep := func(r rune) rune {
			if r == ' ' || r == utf8.RuneError || !unicode.IsPrint(r) {
				return -1
			}
			return r
		}
		if strings.Map(keep, got) != strings.Map(keep, s) {
			t.Fatalf("%q becomes %q, which has other letters", s, got)
		}
	})
}
