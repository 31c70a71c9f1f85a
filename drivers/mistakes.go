package drivers

import (
	"errors"
	"fmt"
)

// Mistakes collect what is wrong with options, for their Validate: a person wants to
// hear of all at once. The zero value is ready; it is not safe for concurrent use.
type Mistakes []error

// If adds a sentence that begins with the key, when something is wrong. A key inside of
// a list has the place in it, as in points[2].name: that is where the file is shown.
func (m *Mistakes) If(wrong bool, format string, args ...any) {
	if wrong {
		*m = append(*m, fmt.Errorf(format, args...))
	}
}

// Add takes over what a part has found, each behind a prefix such as "points[2].".
func (m *Mistakes) Add(prefix string, err error) {
	if err == nil {
		return
	}
	parts := []error{err}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		parts = many.Unwrap()
	}
	for _, one := range parts {
		*m = append(*m, fmt.Errorf("%s%w", prefix, one))
	}
}

// Err joins them, or is nil.
func (m Mistakes) Err() error { return errors.Join(m...) }
