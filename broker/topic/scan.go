package topic

import "strings"

// Match calls yield for every name that the filter matches, in the order of the
// names' bytes, until yield is false. The filter must be valid (ValidFilter).
// yield must not change n.
func (n *Names[T]) Match(filter string, yield func(name string, v T) bool) {
	for after, more := "", true; more; {
		stopped := false
		after, more = n.MatchFrom(filter, after, page, func(name string, v T) bool {
			stopped = !yield(name, v)
			return !stopped
		})
		if stopped {
			return
		}
	}
}

// MatchFrom is Match in pieces: it begins behind the name after ("" is the
// beginning) and ends after it has looked at limit names, at least one, matching
// or not, or when yield is false. If more is true, the next piece begins at last.
//
// Between the pieces n may change. Every name that stays for all of the pieces is
// yielded once, with the value that it has at that time; one that comes or goes
// in between may or may not be.
func (n *Names[T]) MatchFrom(filter, after string, limit int, yield func(name string, v T) bool) (last string, more bool) {
	var at place
	if after != "" {
		var found bool
		if at, found = n.find(after); found {
			at = n.next(at)
		}
	}
	var room [128]byte // for targets, which are as long as names
	for last = after; at.page < len(n.pages); limit-- {
		if limit <= 0 && last != after {
			return last, true
		}
		e := &n.pages[at.page][at.entry]
		matches, target, possible := step(filter, e.name, room[:0])
		if !possible {
			return last, false
		}
		last = e.name
		if matches && !yield(e.name, e.value) {
			return last, true
		}
		if at = n.next(at); len(target) > 0 {
			at = seek(n, at, target)
		}
	}
	return last, false
}

// step judges one name on the way through all. matches is Match(filter, name).
// possible is false if no name from this one on can match. target, if not empty,
// is the least name after this one that can match; it is appended to buf.
//
// All names below "a/b" are those that begin with "a/b/", so they stand together,
// and '0' is the byte after '/': "a/b0" is behind them all.
func step(filter, name string, buf []byte) (matches bool, target []byte, possible bool) {
	if hidden(filter, name) {
		return false, append(buf, '$'+1), true
	}
	behind := -1 // end of the last level in name that a + has matched
	start := 0   // start of the level in name
	for {
		want, filterRest, filterMore := strings.Cut(filter, "/")
		if want == "#" {
			return true, nil, true
		}
		have, _, nameMore := strings.Cut(name[start:], "/")
		end := start + len(have)
		switch {
		case want == "+":
			behind = end
		case have < want:
			// Either name[:start]+want is to come, or this very level sorts low
			// only because it is short.
			return false, append(append(buf, name[:start]...), want...), true
		case have > want:
			if filterMore && strings.HasPrefix(have, want) && have[len(want)] < '/' {
				// "ab!" stands between "ab" and "ab/".
				buf = append(append(buf, name[:start]...), want...)
				return false, append(buf, '/'), true
			}
			return past(name, behind, buf)
		}
		switch {
		case !filterMore && !nameMore:
			return true, nil, true
		case !filterMore: // the name goes on below the last level
			return past(name, behind, buf)
		case !nameMore && filterRest == "#": // "a" is matched by "a/#" (4.7.1.2)
			return true, nil, true
		case !nameMore && want == "+": // "a!/..." may come before "a/..."
			return false, nil, true
		case !nameMore:
			return false, append(append(buf, name...), '/'), true
		}
		filter, start = filterRest, end+1
	}
}

// past leaves all that is below name[:behind], the last place where a + can have
// another level.
func past(name string, behind int, buf []byte) (matches bool, target []byte, possible bool) {
	if behind < 0 {
		return false, nil, false
	}
	return false, append(append(buf, name[:behind]...), '0'), true
}
