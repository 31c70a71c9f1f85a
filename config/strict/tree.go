package strict

import (
	"fmt"
	"strings"
)

type kind uint8

const (
	tableKind kind = iota
	arrayKind
	stringKind
	boolKind
	integerKind
	floatKind
	timeKind
)

// made says how a table or an array came to be, because TOML lets some be
// extended further down in the file and others not.
type made uint8

const (
	implied  made = iota // named on the way to a longer [header]
	byHeader             // [table] or [[array]]
	byDots               // a.b = 1
	inline               // { } or [ ]: closed when its bracket closes
)

// A node is a value together with where it stands.
type node struct {
	kind kind
	made made
	key  int // offset of the key or header that names it
	at   int // offset of the value itself; of the header for tables

	text  string           // strings: decoded; other scalars: as written
	items []*node          // arrays
	names []string         // tables: keys in the order of the file
	table map[string]*node // tables
}

func newTable(how made, key, at int) *node {
	return &node{kind: tableKind, made: how, key: key, at: at, table: map[string]*node{}}
}

func (n *node) child(name string) *node {
	if n.kind != tableKind {
		return nil
	}
	return n.table[name]
}

func (n *node) set(name string, c *node) {
	n.names = append(n.names, name)
	n.table[name] = c
}

// what names the value in a sentence: `the integer 10`.
func (n *node) what() string {
	switch n.kind {
	case tableKind:
		return "a table"
	case arrayKind:
		if n.made == byHeader {
			return "a list of tables"
		}
		return "a list"
	case stringKind:
		return "the string " + quote(n.text)
	case boolKind:
		return n.text
	case integerKind:
		return "the integer " + n.text
	case floatKind:
		return "the number " + n.text
	default:
		return "the date or time " + n.text
	}
}

// quote shortens what would not fit on a line.
func quote(s string) string {
	const longest = 40
	if r := []rune(s); len(r) > longest {
		s = string(r[:longest]) + "..."
	}
	return fmt.Sprintf("%q", s)
}

// find follows a path such as devices[2].options.bus and returns the deepest
// node that exists on it, and whether it is the one asked for.
func (n *node) find(path string) (deepest *node, whole bool) {
	for path != "" {
		var step string
		step, path, _ = strings.Cut(path, ".")
		name, index, indexed := strings.Cut(step, "[")
		c := n.child(name)
		if c == nil {
			return n, false
		}
		n = c
		if !indexed {
			continue
		}
		var i int
		if _, err := fmt.Sscanf(index, "%d]", &i); err != nil || i < 0 || i >= len(n.items) {
			return n, false
		}
		n = n.items[i]
	}
	return n, true
}
