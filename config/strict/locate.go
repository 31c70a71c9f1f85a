package strict

import (
	"errors"
	"strings"
)

// Locate turns what the Validate of the table at path says into Errors that
// point at the keys. Validate returns one sentence, or several as errors.Join
// does, and each begins with its key: `max_inflight must be at least 1`. An
// Error that has a position already keeps it.
func (d *Document) Locate(path string, err error) Errors {
	n, whole := d.root.find(path)
	if !whole {
		// The section is not in the file, so the keys are not either.
		n = newTable(implied, n.at, n.at)
	}
	return d.src.locate(n, withoutIndex(path), err)
}

func (s *source) locate(n *node, section string, err error) Errors {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all Errors
		for _, one := range many.Unwrap() {
			all = append(all, s.locate(n, section, one)...)
		}
		return all
	}
	var located *Error
	if errors.As(err, &located) {
		return Errors{located}
	}
	key, rest, _ := strings.Cut(err.Error(), " ")
	c, _ := n.find(strings.TrimRight(key, ":,"))
	return Errors{s.errorf(c.at, "%s %s", join(section, withoutIndex(key)), rest)}
}

// All finds every Error in err, also inside of what errors.Join made of the
// findings of several parts, in the order of their positions. Errors of another
// kind are not among them: nil means that there are only such. What several parts have
// found is there once.
func All(err error) Errors {
	var all Errors
	seen := make(map[Error]bool)
	var collect func(error)
	collect = func(err error) {
		switch x := err.(type) {
		case *Error:
			if !seen[*x] {
				seen[*x] = true
				all = append(all, x)
			}
		case interface{ Unwrap() []error }:
			for _, one := range x.Unwrap() {
				collect(one)
			}
		case interface{ Unwrap() error }:
			collect(x.Unwrap())
		}
	}
	collect(err)
	sorted, _ := all.asError().(Errors)
	return sorted
}

// withoutIndex makes broker.listeners.address of broker.listeners[2].address:
// the position says which one is meant.
func withoutIndex(path string) string {
	for {
		before, after, found := strings.Cut(path, "[")
		if !found {
			return path
		}
		_, after, _ = strings.Cut(after, "]")
		path = before + after
	}
}

// Merge adds errors of a later step to those of an earlier one, in the order of
// their positions. Of several at one position the first stays: a value of the
// wrong type need not be out of range, too.
func Merge(first error, later ...Errors) error {
	var all Errors
	errors.As(first, &all)
	type position struct{ line, column int }
	seen := map[position]bool{}
	for _, e := range all {
		seen[position{e.Line, e.Column}] = true
	}
	for _, list := range later {
		for _, e := range list {
			if p := (position{e.Line, e.Column}); !seen[p] {
				all = append(all, e)
			}
		}
	}
	return all.asError()
}
