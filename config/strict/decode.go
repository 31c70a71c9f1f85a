package strict

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Decode fills dst, a pointer to a struct, and returns every mistake of the
// file as an Errors. What could be decoded is in dst also then. Elements are
// the values that elements of slices of their type start from.
func (d *Document) Decode(dst any, elements ...any) error {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("strict: Decode wants a pointer to a struct, not %T", dst))
	}
	dec := decoder{src: d.src, errs: slices.Clone(d.errs), homes: homes(v.Elem().Type())}
	for _, e := range elements {
		dec.elements = append(dec.elements, reflect.ValueOf(e))
	}
	dec.table(v.Elem(), d.root, "")
	return dec.errs.asError()
}

// Broken reports whether the grammar itself was wrong, so that parts of the
// file may be missing from what was decoded.
func (d *Document) Broken() bool { return len(d.errs) > 0 }

// Has reports whether the file sets the key at path, written as in
// devices[2].options.bus.
func (d *Document) Has(path string) bool {
	_, whole := d.root.find(path)
	return whole
}

// Errorf makes an error that points at the value at path, or at the deepest
// table on the way to it that the file has.
func (d *Document) Errorf(path, format string, args ...any) *Error {
	n, _ := d.root.find(path)
	return d.src.errorf(n.at, format, args...)
}

type decoder struct {
	src      *source
	errs     Errors
	elements []reflect.Value
	homes    map[string][]string // key name to the sections that know it
}

func (d *decoder) fail(at int, format string, args ...any) {
	d.errs = append(d.errs, d.src.errorf(at, format, args...))
}

// wants reports a value of the wrong type.
func (d *decoder) wants(n *node, name, want string) {
	d.fail(n.at, "%s wants %s, not %s", shown(name), want, n.what())
}

// table fills a struct from a table. name is the path of the table, "" for the
// file itself.
func (d *decoder) table(v reflect.Value, n *node, name string) {
	s := shapeOf(v.Type())
	for _, index := range s.faults {
		f := v.FieldByIndex(index)
		f.Set(reflect.ValueOf(d.fault(n)).Convert(f.Type()))
	}
	for _, f := range s.fields {
		// The kind of a device must be able to say what is missing, and where,
		// also when the file has no options at all.
		if f.typ.ConvertibleTo(laterType) && n.child(f.name) == nil {
			d.later(v.FieldByIndex(f.index), newTable(inline, n.at, n.at), join(name, f.name))
		}
	}
	for _, key := range n.names {
		c := n.table[key]
		f, known := s.field(key)
		if !known {
			d.fail(c.key, "unknown key %s%s%s", quote(key), in(name), d.hint(key, name, s))
			continue
		}
		d.value(v.FieldByIndex(f.index), c, f, join(name, key))
	}
}

func (d *decoder) fault(n *node) FaultFunc {
	return func(key, sentence string) error {
		c, _ := n.find(key)
		return d.src.errorf(c.at, "%s", sentence)
	}
}

func (d *decoder) later(v reflect.Value, n *node, name string) {
	decode := LaterFunc(func(dst any) error {
		inner := decoder{src: d.src, elements: d.elements, homes: d.homesAround(name)}
		p := reflect.ValueOf(dst)
		if p.Kind() != reflect.Pointer || p.IsNil() {
			panic(fmt.Sprintf("strict: decode wants a pointer, not %T", dst))
		}
		inner.value(p.Elem(), n, field{typ: p.Type().Elem()}, name)
		err := inner.errs.asError()
		if v, ok := dst.(interface{ Validate() error }); ok {
			err = Merge(err, d.src.locate(n, shown(name), v.Validate()))
		}
		return err
	})
	v.Set(reflect.ValueOf(decode).Convert(v.Type()))
}

// value fills v from n. Of f only the tag options count.
func (d *decoder) value(v reflect.Value, n *node, f field, name string) {
	t := v.Type()
	if t.Kind() == reflect.Pointer && !t.Implements(textType) || t.Kind() == reflect.Pointer && v.IsNil() {
		p := d.element(t.Elem())
		if !v.IsNil() {
			p.Set(v.Elem())
		}
		d.value(p, n, f, name)
		v.Set(p.Addr())
		return
	}
	if v.CanAddr() && v.Addr().Type().Implements(textType) {
		d.text(v.Addr().Interface().(encoding.TextUnmarshaler), n, name)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		switch {
		case n.kind == tableKind:
			d.table(v, n, name)
		case n.kind == arrayKind && n.made == byHeader:
			d.fail(n.at, "%s is one table: write %s", shown(name), header(name))
		default:
			d.wants(n, name, "a table such as "+header(name))
		}
	case reflect.Slice:
		d.slice(v, n, f, name)
	case reflect.Map:
		d.mapping(v, n, f, name)
	case reflect.Func:
		if !t.ConvertibleTo(laterType) {
			panic(fmt.Sprintf("strict: %s has the type %s, which no TOML value fits", name, t))
		}
		if n.kind != tableKind {
			d.wants(n, name, "a table such as "+header(name))
			n = newTable(inline, n.at, n.at)
		}
		d.later(v, n, name)
	case reflect.Interface:
		if x, ok := d.any(n, name); ok {
			v.Set(reflect.ValueOf(x))
		}
	default:
		d.scalar(v, n, f, name)
	}
}

// text gives strings to UnmarshalText, and other scalars as they are written.
func (d *decoder) text(u encoding.TextUnmarshaler, n *node, name string) {
	if n.kind == tableKind || n.kind == arrayKind {
		d.wants(n, name, "a string")
		return
	}
	if err := u.UnmarshalText([]byte(n.text)); err != nil {
		d.fail(n.at, "%s: %s", shown(name), err)
	}
}

func (d *decoder) slice(v reflect.Value, n *node, f field, name string) {
	elem := v.Type().Elem()
	inner := name
	if elem.Kind() == reflect.Struct {
		inner += "[]"
	}
	if n.kind != arrayKind {
		switch {
		case n.kind == tableKind && n.made != inline && elem.Kind() == reflect.Struct:
			d.fail(n.at, "%s is a list of tables: write %s", shown(name), header(inner))
		case elem.Kind() == reflect.Struct:
			d.wants(n, name, "a list of tables such as "+header(inner))
		case elem.Kind() == reflect.String:
			d.wants(n, name, `a list such as ["a", "b"]`)
		default:
			d.wants(n, name, "a list in [ ]")
		}
		return
	}
	// Always a new one: the default may be shared.
	all := reflect.MakeSlice(v.Type(), 0, len(n.items))
	for _, item := range n.items {
		e := d.element(elem)
		d.value(e, item, f, inner)
		all = reflect.Append(all, e)
	}
	v.Set(all)
}

func (d *decoder) mapping(v reflect.Value, n *node, f field, name string) {
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		panic(fmt.Sprintf("strict: %s: keys of a map must be strings", name))
	}
	if n.kind != tableKind {
		d.wants(n, name, "a table such as "+header(name))
		return
	}
	all := reflect.MakeMap(t)
	for it := v.MapRange(); it.Next(); { // defaults stay unless the file says otherwise
		all.SetMapIndex(it.Key(), it.Value())
	}
	for _, key := range n.names {
		e := d.element(t.Elem())
		d.value(e, n.table[key], f, join(name, key))
		all.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), e)
	}
	v.Set(all)
}

// element makes a settable value of type t that holds the defaults of t.
func (d *decoder) element(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	for _, e := range d.elements {
		if e.Type() == t {
			v.Set(e)
			return v
		}
	}
	if s, ok := v.Addr().Interface().(interface{ SetDefaults() }); ok {
		s.SetDefaults()
	}
	return v
}

// any decodes without a wish: string, bool, int64, float64, []any and
// map[string]any.
func (d *decoder) any(n *node, name string) (any, bool) {
	switch n.kind {
	case tableKind:
		m := make(map[string]any, len(n.names))
		for _, key := range n.names {
			if x, ok := d.any(n.table[key], join(name, key)); ok {
				m[key] = x
			}
		}
		return m, true
	case arrayKind:
		all := make([]any, 0, len(n.items))
		for _, item := range n.items {
			if x, ok := d.any(item, name); ok {
				all = append(all, x)
			}
		}
		return all, true
	case stringKind:
		return n.text, true
	case boolKind:
		return n.text == "true", true
	case integerKind:
		x, err := integer(n.text)
		if err != nil {
			d.fail(n.at, "%s: %s is too large", shown(name), n.text)
		}
		return x, err == nil
	case floatKind:
		x, err := float(n.text)
		if err != nil {
			d.fail(n.at, "%s: %s", shown(name), err)
		}
		return x, err == nil
	default:
		d.wants(n, name, "a string, a number, true or false")
		return nil, false
	}
}

// hint ends the sentence about an unknown key with what was probably meant.
func (d *decoder) hint(key, section string, s shape) string {
	key = strings.ReplaceAll(strings.ToLower(key), "-", "_")
	if slices.Contains(s.names, key) {
		return fmt.Sprintf(" (did you mean %q?)", key)
	}
	// After a [header], top-level keys are no longer at the top level; this is
	// the one trap of TOML that everyone falls into once.
	if homes := d.homes[key]; len(homes) == 1 {
		if homes[0] == "" {
			return " (it belongs above the first [section])"
		}
		return fmt.Sprintf(" (it belongs in %s)", homes[0])
	}
	if near := Nearest(key, s.names); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	if longer := longerThan(key, s.names); longer != "" {
		return fmt.Sprintf(" (did you mean %q?)", longer)
	}
	for _, f := range s.fields {
		if f.typ.ConvertibleTo(laterType) {
			return fmt.Sprintf(" (keys that only this kind has belong in %s)", header(join(section, f.name)))
		}
	}
	if len(s.names) <= 8 {
		return fmt.Sprintf(" (known here: %s)", strings.Join(s.names, ", "))
	}
	return ""
}

// longerThan is the only name that begins with all of a word: password_file for password.
func longerThan(word string, names []string) (longer string) {
	for _, name := range names {
		if !strings.HasPrefix(name, word+"_") {
			continue
		}
		if longer != "" {
			return ""
		}
		longer = name
	}
	return longer
}

// homesAround is what decoding the table later may say of keys that belong to the
// table around it: in TOML they must stand above its header. Keys of other
// sections are not meant there.
func (d *decoder) homesAround(name string) map[string][]string {
	around := name[:max(strings.LastIndexByte(name, '.'), 0)]
	homes := map[string][]string{}
	for key, sections := range d.homes {
		if slices.Contains(sections, header(around)) {
			homes[key] = []string{header(around) + ", above " + header(name)}
		}
	}
	return homes
}

// Inside the decoder a section is named broker.listeners[]: [] stands behind
// what is a list. Its position says which element is meant.

func join(section, key string) string {
	if section == "" {
		return key
	}
	return section + "." + key
}

// shown is the section without marks.
func shown(section string) string { return strings.ReplaceAll(section, "[]", "") }

// header writes a section as its header is written in the file.
func header(section string) string {
	if section == "" {
		return ""
	}
	if strings.HasSuffix(section, "[]") {
		return "[[" + shown(section) + "]]"
	}
	return "[" + shown(section) + "]"
}

func in(section string) string {
	if section == "" {
		return ""
	}
	return " in " + header(section)
}
