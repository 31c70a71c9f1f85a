package strict

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// LaterFunc and FaultFunc are the two function types that a field may have.
type (
	// LaterFunc decodes the sub-tree that was kept under a key into dst, a
	// pointer to a struct that holds its defaults, and calls dst's Validate if it
	// has one: only here its sentences can be given positions. The error is an
	// Errors. It may be called from any goroutine, any number of times.
	LaterFunc = func(dst any) error
	// FaultFunc makes an Error at a key of the table that the field stands in,
	// or at the table when the key is not in the file.
	FaultFunc = func(key, sentence string) error
)

var (
	laterType    = reflect.TypeFor[LaterFunc]()
	faultType    = reflect.TypeFor[FaultFunc]()
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// field is one key that a struct knows.
type field struct {
	name         string
	index        []int
	typ          reflect.Type
	bytes, never bool
}

// shape is what the tags of a struct say.
type shape struct {
	fields []field // in the order of the source
	names  []string
	faults [][]int
}

// shapeOf reads the tags. A tag that can not work is a mistake in the program,
// not in the file, and panics.
func shapeOf(t reflect.Type) shape {
	var s shape
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("toml")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct:
			inner := shapeOf(f.Type)
			for _, g := range inner.fields {
				g.index = append([]int{i}, g.index...)
				s.add(t, g)
			}
			for _, index := range inner.faults {
				s.faults = append(s.faults, append([]int{i}, index...))
			}
		case !tagged || name == "-":
		case !f.IsExported():
			panic(fmt.Sprintf("strict: %s.%s has a toml tag and is not exported", t, f.Name))
		case options == "fault" && f.Type.ConvertibleTo(faultType):
			s.faults = append(s.faults, []int{i})
		default:
			g := field{name: name, index: []int{i}, typ: f.Type}
			switch {
			case options == "":
			case options == "bytes" && f.Type.Kind() == reflect.Int64:
				g.bytes = true
			case options == "never" && f.Type == durationType:
				g.never = true
			default:
				panic(fmt.Sprintf("strict: %s.%s: the tag %q does not fit the type %s", t, f.Name, tag, f.Type))
			}
			s.add(t, g)
		}
	}
	return s
}

func (s *shape) add(t reflect.Type, f field) {
	if f.name == "" {
		panic(fmt.Sprintf("strict: a field of %s has a toml tag without a name", t))
	}
	for _, old := range s.names {
		if old == f.name {
			panic(fmt.Sprintf("strict: %s knows the key %q twice", t, f.name))
		}
	}
	s.fields = append(s.fields, f)
	s.names = append(s.names, f.name)
}

func (s *shape) field(name string) (field, bool) {
	for _, f := range s.fields {
		if f.name == name {
			return f, true
		}
	}
	return field{}, false
}
