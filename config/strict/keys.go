package strict

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Key is one key that a struct knows.
type Key struct {
	Path    string // broker.listeners[].address
	Type    string // string, bool, integer, number, duration, size, list, table, kind's own keys
	Default string // as written in TOML; "" when there is none

	Struct reflect.Type // that has the field, and the field's name there
	Field  string
}

// Keys lists every key of v, a struct that holds its defaults, in the order of
// the source. Elements are as for Decode.
func Keys(v any, elements ...any) []Key {
	var d decoder
	for _, e := range elements {
		d.elements = append(d.elements, reflect.ValueOf(e))
	}
	return d.keys(nil, reflect.ValueOf(v), "")
}

func (d *decoder) keys(all []Key, v reflect.Value, section string) []Key {
	for _, f := range shapeOf(v.Type()).fields {
		known := len(all)
		all = d.key(all, v.FieldByIndex(f.index), f, join(section, f.name))
		if owner := v.Type().FieldByIndex(f.index); len(all) > known && all[known].Struct == nil {
			all[known].Struct, all[known].Field = v.Type(), owner.Name
			if depth := len(f.index) - 1; depth > 0 {
				all[known].Struct = v.Type().FieldByIndex(f.index[:depth]).Type
			}
		}
	}
	return all
}

func (d *decoder) key(all []Key, v reflect.Value, f field, path string) []Key {
	t := v.Type()
	elem := t
	for elem.Kind() == reflect.Slice || elem.Kind() == reflect.Pointer || elem.Kind() == reflect.Map {
		elem = elem.Elem()
	}
	if elem.Kind() == reflect.Struct && !reflect.PointerTo(elem).Implements(textType) {
		switch t.Kind() {
		case reflect.Slice:
			return d.keys(all, d.element(elem), path+"[]")
		case reflect.Map:
			return d.keys(all, d.element(elem), path+".*")
		case reflect.Pointer:
			return d.keys(all, d.element(elem), path)
		}
		return d.keys(all, v, path)
	}
	return append(all, Key{Path: path, Type: typeName(t, f), Default: literal(v, f)})
}

func typeName(t reflect.Type, f field) string {
	switch {
	case f.bytes:
		return "size"
	case t == durationType:
		return "duration"
	case reflect.PointerTo(t).Implements(textType):
		return "string"
	case t.ConvertibleTo(laterType):
		return "table"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem(), f)
	case reflect.Slice:
		return "list of " + typeName(t.Elem(), f) + "s"
	case reflect.Map:
		return "table of " + typeName(t.Elem(), f) + "s"
	case reflect.Bool, reflect.String:
		return t.Kind().String()
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Interface:
		return "any value"
	}
	return "integer"
}

// literal writes a default as TOML.
func literal(v reflect.Value, f field) string {
	t := v.Type()
	if m, ok := v.Interface().(encoding.TextMarshaler); ok && !(t.Kind() == reflect.Pointer && v.IsNil()) {
		if text, err := m.MarshalText(); err == nil {
			return strconv.Quote(string(text))
		}
	}
	if reflect.PointerTo(t).Implements(textType) {
		return "" // how it is written cannot be told
	}
	if s, ok := v.Interface().(fmt.Stringer); ok && t.Kind() != reflect.Pointer && t != durationType {
		return strconv.Quote(s.String())
	}
	switch {
	case f.bytes:
		return strconv.Quote(FormatSize(v.Int()))
	case t == durationType:
		return strconv.Quote(formatDuration(time.Duration(v.Int())))
	}
	switch t.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return literal(v.Elem(), f)
	case reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = literal(v.Index(i), f)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Map, reflect.Func, reflect.Interface, reflect.Struct:
		return ""
	}
	return fmt.Sprint(v.Interface())
}

// formatDuration drops the zero units that String appends: 10m0s, 168h0m0s.
func formatDuration(d time.Duration) string {
	if d == math.MaxInt64 {
		return "never"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// homes says for every key name in which sections it is known, written as their
// headers are.
func homes(t reflect.Type) map[string][]string {
	all := map[string][]string{}
	for _, k := range Keys(reflect.Zero(t).Interface()) {
		section, name := "", k.Path
		if i := strings.LastIndexByte(k.Path, '.'); i >= 0 {
			section, name = k.Path[:i], k.Path[i+1:]
		}
		if home := header(section); !slices.Contains(all[name], home) {
			all[name] = append(all[name], home)
		}
	}
	return all
}
