package strict

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Error is one mistake in a file. Lines and columns count from 1; columns count
// characters, as editors do.
type Error struct {
	Path         string
	Line, Column int
	Sentence     string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.Path, e.Line, e.Column, e.Sentence)
}

// Errors holds every mistake of one file in the order of their positions; one
// line each. It is never empty when returned as an error.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find a single Error.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// asError sorts and returns nil for an empty list, so that callers need not
// know about typed nils.
func (e Errors) asError() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return e
}

// source is the text that offsets point into.
type source struct {
	path string
	text []byte
}

func (s *source) errorf(offset int, format string, args ...any) *Error {
	line, column := s.position(offset)
	return &Error{Path: s.path, Line: line, Column: column, Sentence: fmt.Sprintf(format, args...)}
}

func (s *source) position(offset int) (line, column int) {
	before := s.text[:min(max(offset, 0), len(s.text))]
	line = bytes.Count(before, []byte{'\n'}) + 1
	before = before[bytes.LastIndexByte(before, '\n')+1:]
	return line, utf8.RuneCount(before) + 1
}
