package strict

import "unicode/utf8"

// Nearest returns the candidate with the smallest edit distance to name, or ""
// when none is near enough to be meant: one edit per three characters, and at
// most three.
func Nearest(name string, candidates []string) string {
	best, limit := "", min(utf8.RuneCountInString(name)/3, 3)+1
	for _, c := range candidates {
		if d := distance([]rune(name), []rune(c)); d < limit {
			best, limit = c, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func distance(a, b []rune) int {
	before, last, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		now[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			now[j+1] = min(last[j+1]+1, now[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				now[j+1] = min(now[j+1], before[j-1]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(b)]
}
