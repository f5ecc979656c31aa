package mountopt

import "strings"

// nearest returns which of the known names is most like name, or "" if none is close
// enough to be what was meant.
func nearest(name string, known []string) string {
	if len(name) > maxShownName {
		return ""
	}
	word := strings.ToLower(strings.Trim(name, " \t"))
	best, bestDistance := "", 3
	for _, k := range known {
		limit := 2
		if len(k) <= 4 {
			limit = 1
		}
		if d := distance(word, k); d <= limit && d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance counts the single-byte insertions, deletions, replacements and
// swaps of neighbours that turn a into b (optimal string alignment).
func distance(a, b string) int {
	before, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}
