package strict

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// deepest is how many parts a dotted key may have, and how many lists and
// inline tables may stand in each other. It keeps a hostile file from building
// a tree that recursion can not walk.
const deepest = 64

// A Document is a parsed file. It is not modified after Parse and may be used
// by several goroutines.
type Document struct {
	src  *source
	root *node
	errs Errors // mistakes of the grammar: duplicates, and at most one of syntax
}

// Parse reads the text of the file named path; the name is used in errors only.
// It never fails as a whole: mistakes of the grammar are kept and returned by
// Decode together with those of the content, so that the user sees all in one
// run. Everything behind an error of syntax is unread.
func Parse(path string, text []byte) *Document {
	// The parser's offsets rely on the capacity of the slice it is given, and
	// text belongs to the caller.
	text = bytes.Clone(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")))
	b := builder{src: &source{path: path, text: text}, root: newTable(implied, 0, 0)}
	b.here = b.root

	b.parser.Reset(text)
	for b.parser.NextExpression() {
		b.expression(b.parser.Expression())
	}
	if err := b.parser.Error(); err != nil {
		at := len(text)
		var syntax *unstable.ParserError
		if errors.As(err, &syntax) && len(syntax.Highlight) > 0 {
			at = int(b.parser.Range(syntax.Highlight).Offset)
		}
		b.fail(at, "%s (the rest of the file was not read)", grammar(err.Error(), text[min(max(at, 0), len(text)):]))
	}
	return &Document{src: b.src, root: b.root, errs: b.errs}
}

// grammar adds the next step to what the parser says of the text before it.
func grammar(said string, text []byte) string {
	r, _ := utf8.DecodeRune(text)
	switch {
	case strings.Contains(said, "invalid escape character"):
		return said + `: write the text between '...', where a backslash is one`
	case !strings.HasSuffix(said, "at start of value"):
		return said
	case strings.ContainsRune("“”„‟‘’‚‛«»", r):
		return fmt.Sprintf(`%c is no quotation mark here: a text stands between "..."`, r)
	case unicode.IsLetter(r):
		return said + `: a text stands between "..."`
	}
	return said
}

// builder grows the tree, one expression of the file after the other.
type builder struct {
	src    *source
	parser unstable.Parser
	root   *node
	here   *node // table that key = value lines belong to now
	errs   Errors
}

func (b *builder) fail(at int, format string, args ...any) {
	b.errs = append(b.errs, b.src.errorf(at, format, args...))
}

func (b *builder) expression(e *unstable.Node) {
	switch e.Kind {
	case unstable.KeyValue:
		b.keyValue(b.here, e, 0)
	case unstable.Table, unstable.ArrayTable:
		b.here = b.header(e)
	}
}

// part is one part of a dotted key.
type part struct {
	name    string
	at, end int
}

func (b *builder) parts(e *unstable.Node) []part {
	var all []part
	for it := e.Key(); it.Next(); {
		n := it.Node()
		at := int(n.Raw.Offset)
		all = append(all, part{string(n.Data), at, at + int(n.Raw.Length)})
	}
	if len(all) > deepest {
		b.fail(all[0].at, "a key of %d parts is too deep, at most %d", len(all), deepest)
		return nil
	}
	return all
}

func dotted(parts []part) string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	return strings.Join(names, ".")
}

// header opens [a.b.c] or [[a.b.c]] and returns its table. After a mistake it
// returns a table outside the tree, so that the keys below it cause no further
// errors.
func (b *builder) header(e *unstable.Node) *node {
	parts := b.parts(e)
	lost := newTable(byHeader, 0, 0)
	if parts == nil {
		return lost
	}
	n := b.root
	for i, p := range parts[:len(parts)-1] {
		next := n.child(p.name)
		if next == nil {
			next = newTable(implied, p.at, p.at)
			n.set(p.name, next)
		}
		if next.kind == arrayKind && next.made == byHeader {
			next = next.items[len(next.items)-1]
		}
		if next.kind != tableKind || next.made == inline {
			b.fail(p.at, "%s is already %s at line %d and can not be extended here", dotted(parts[:i+1]), next.what(), b.line(next))
			return lost
		}
		n = next
	}

	p, name := parts[len(parts)-1], dotted(parts)
	old := n.child(p.name)
	fresh := newTable(byHeader, p.at, p.at)
	if e.Kind == unstable.ArrayTable {
		switch {
		case old == nil:
			n.set(p.name, &node{kind: arrayKind, made: byHeader, key: p.at, at: p.at, items: []*node{fresh}})
		case old.kind == arrayKind && old.made == byHeader:
			old.items = append(old.items, fresh)
		default:
			b.fail(p.at, "[[%s]] is already %s at line %d", name, old.what(), b.line(old))
			return lost
		}
		return fresh
	}
	switch {
	case old == nil:
		n.set(p.name, fresh)
		return fresh
	case old.kind == tableKind && old.made == implied:
		old.made, old.key, old.at = byHeader, p.at, p.at
		return old
	case old.kind == arrayKind && old.made == byHeader:
		b.fail(p.at, "[%s] is a list of tables since line %d: write [[%s]]", name, b.line(old), name)
	default:
		b.fail(p.at, "[%s] is set twice, first at line %d", name, b.line(old))
	}
	return lost
}

// keyValue adds a.b.c = value to the table to.
func (b *builder) keyValue(to *node, e *unstable.Node, depth int) {
	parts := b.parts(e)
	if parts == nil {
		return
	}
	for i, p := range parts[:len(parts)-1] {
		next := to.child(p.name)
		if next == nil {
			next = newTable(byDots, p.at, p.at)
			to.set(p.name, next)
		}
		if next.kind != tableKind || next.made != byDots {
			b.fail(p.at, "%s is already %s at line %d and can not be extended here", dotted(parts[:i+1]), next.what(), b.line(next))
			return
		}
		to = next
	}
	p := parts[len(parts)-1]
	if old := to.child(p.name); old != nil {
		b.fail(p.at, "%s is set twice, first at line %d", dotted(parts), b.line(old))
		return
	}
	v := b.value(e.Value(), b.valueOffset(p.end), depth)
	v.key = p.at
	to.set(p.name, v)
}

// valueOffset steps over the equals sign behind a key. The parser gives no
// position for arrays, and this one is right for every kind of value.
func (b *builder) valueOffset(at int) int {
	text := b.src.text
	for at < len(text) && (text[at] == ' ' || text[at] == '\t' || text[at] == '=') {
		at++
	}
	return at
}

func (b *builder) value(e *unstable.Node, at, depth int) *node {
	n := &node{made: inline, key: at, at: at, text: string(e.Data)}
	if depth > deepest {
		b.fail(at, "lists and inline tables are nested too deeply, at most %d", deepest)
		n.kind = arrayKind
		return n
	}
	switch e.Kind {
	case unstable.String:
		n.kind = stringKind
	case unstable.Bool:
		n.kind = boolKind
	case unstable.Integer:
		n.kind = integerKind
	case unstable.Float:
		n.kind = floatKind
	case unstable.Array:
		n.kind, n.text = arrayKind, ""
		for it := e.Children(); it.Next(); {
			c := it.Node()
			where := at // of an array inside an array nothing better is known
			if c.Raw.Length > 0 {
				where = int(c.Raw.Offset)
			}
			n.items = append(n.items, b.value(c, where, depth+1))
		}
	case unstable.InlineTable:
		// Its keys may be dotted, so it is open until it is complete.
		n = newTable(byDots, at, at)
		for it := e.Children(); it.Next(); {
			b.keyValue(n, it.Node(), depth+1)
		}
		n.made = inline
	default:
		n.kind = timeKind
	}
	return n
}

func (b *builder) line(n *node) int {
	line, _ := b.src.position(n.key)
	return line
}
