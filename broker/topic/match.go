package topic

import "strings"

// Match reports whether the filter matches the name. Both must be valid.
func Match(filter, name string) bool {
	if hidden(filter, name) {
		return false
	}
	for {
		want, filterRest, filterMore := strings.Cut(filter, "/")
		if want == "#" {
			return true
		}
		have, nameRest, nameMore := strings.Cut(name, "/")
		if want != "+" && want != have {
			return false
		}
		if !filterMore || !nameMore {
			// "a/#" matches its parent "a" as well (4.7.1.2).
			return filterMore == nameMore || !nameMore && filterRest == "#"
		}
		filter, name = filterRest, nameRest
	}
}

// Captures appends to dst what each wildcard of the filter stands for in the
// name, from left to right: one level for +, all that is left for #. The # of
// "a/#" stands for nothing in the name "a" and adds nothing, while in "a/" it
// stands for one empty level and adds "". ok is Match(filter, name); if it is
// false, dst comes back as it was. Both must be valid.
func Captures(filter, name string, dst []string) (captured []string, ok bool) {
	if !Match(filter, name) {
		return dst, false
	}
	for {
		want, filterRest, filterMore := strings.Cut(filter, "/")
		if want == "#" {
			return append(dst, name), true
		}
		have, nameRest, nameMore := strings.Cut(name, "/")
		if want == "+" {
			dst = append(dst, have)
		}
		if !filterMore || !nameMore {
			return dst, true
		}
		filter, name = filterRest, nameRest
	}
}

// hidden reports whether the name begins with $ and the filter with a wildcard:
// those never match [MQTT-4.7.2-1].
func hidden(filter, name string) bool {
	return name != "" && name[0] == '$' && filter != "" && (filter[0] == '#' || filter[0] == '+')
}
