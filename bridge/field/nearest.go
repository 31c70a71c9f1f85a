package field

import (
	"fmt"
	"strings"

	"edgegateway/drivers"
)

// nearest suggests the kind that was probably meant, as the end of a sentence:
// the one with the longest common beginning, of at least two characters, or one
// that holds the name or is held by it. Chips of a family differ at their end.
func nearest(name string, kinds []drivers.Kind) string {
	best, longest := "", 1
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	for _, k := range kinds {
		n := common(name, k.Name)
		if len(name) > 1 && (strings.Contains(k.Name, name) || strings.Contains(name, k.Name)) {
			n = len(k.Name) + len(name)
		}
		if n > longest {
			best, longest = k.Name, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
