// Package nearest guesses which word a person meant.
package nearest

import (
	"strings"

	edlib "github.com/hbollon/go-edlib"
)

// maxLetters bounds what is compared, in bytes: nobody means a known word by
// more.
const maxLetters = 64

// Word gives the known word that was most likely meant: the one with the fewest
// letters inserted, deleted, replaced or swapped, two at most and fewer than
// half of its own. Capitals don't matter. It is empty where none is near.
func Word(typed string, known []string) string {
	if len(typed) > maxLetters {
		return ""
	}
	best, least := "", 3
	for _, k := range known {
		d := edlib.OSADamerauLevenshteinDistance(strings.ToLower(typed), k)
		if d < least && 2*d < len([]rune(k)) {
			best, least = k, d
		}
	}
	return best
}
