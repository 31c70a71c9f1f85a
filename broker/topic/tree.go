package topic

import "strings"

// Tree holds values under topic filters and finds those whose filter matches a
// name. The zero Tree is empty and ready. It does not lock: calls that change it
// must not run beside any other.
type Tree[T comparable] struct {
	root  node[T]
	edges map[edge[T]]*node[T] // the literal levels below all nodes
	n     int
}

// edge is a literal level below a node. One map for the whole tree takes a
// fraction of the memory of a map in each node.
type edge[T comparable] struct {
	parent *node[T]
	level  string
}

// node is one level of some filters. It is there as long as a filter ends at it
// or below it.
type node[T comparable] struct {
	parent *node[T] // nil at the root
	level  string
	plus   *node[T] // the level +
	hash   *node[T] // the level #
	kids   int      // all levels right below, with plus and hash
	values set[T]   // of the filter that ends here
}

// Add puts v under the filter, which must be valid (ValidFilter). It is false if
// v was there already.
func (t *Tree[T]) Add(filter string, v T) bool {
	at := &t.root
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		next := t.child(at, level)
		if next == nil {
			next = t.grow(at, level)
		}
		at = next
	}
	if !at.values.add(v) {
		return false
	}
	t.n++
	return true
}

// Remove takes v away from the filter. It is false if v was not there.
func (t *Tree[T]) Remove(filter string, v T) bool {
	at := &t.root
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if at = t.child(at, level); at == nil {
			return false
		}
	}
	if !at.values.remove(v) {
		return false
	}
	t.n--
	for at.parent != nil && at.kids == 0 && len(at.values.list) == 0 {
		at = t.cut(at)
	}
	return true
}

// Len is the number of values, counted once for each filter they are under.
func (t *Tree[T]) Len() int { return t.n }

// Match calls yield for every value whose filter matches the name, in no
// particular order: a value under several matching filters once for each. name
// must be valid (ValidName). yield must not change the tree.
func (t *Tree[T]) Match(name string, yield func(v T)) {
	t.match(&t.root, name, yield)
}

func (t *Tree[T]) match(at *node[T], rest string, yield func(v T)) {
	for {
		level, below, more := strings.Cut(rest, "/")
		// Filters that begin with a wildcard do not see names that begin with $
		// [MQTT-4.7.2-1].
		wild := at.parent != nil || level == "" || level[0] != '$'
		if wild && at.hash != nil {
			at.hash.values.each(yield)
		}
		if wild && at.plus != nil {
			if more {
				t.match(at.plus, below, yield)
			} else {
				at.plus.end(yield)
			}
		}
		next := t.edges[edge[T]{at, level}]
		if next == nil {
			return
		}
		if !more {
			next.end(yield)
			return
		}
		at, rest = next, below
	}
}

// end yields what matches a name whose last level is n: the filters that end
// there, and those that go on with # only (4.7.1.2).
func (n *node[T]) end(yield func(v T)) {
	n.values.each(yield)
	if n.hash != nil {
		n.hash.values.each(yield)
	}
}

func (t *Tree[T]) child(at *node[T], level string) *node[T] {
	switch level {
	case "+":
		return at.plus
	case "#":
		return at.hash
	}
	return t.edges[edge[T]{at, level}]
}

func (t *Tree[T]) grow(at *node[T], level string) *node[T] {
	// Cloned, or one level that many filters share would keep the whole of the
	// first filter in memory.
	n := &node[T]{parent: at, level: strings.Clone(level)}
	at.kids++
	switch level {
	case "+":
		at.plus = n
	case "#":
		at.hash = n
	default:
		if t.edges == nil {
			t.edges = make(map[edge[T]]*node[T])
		}
		t.edges[edge[T]{at, n.level}] = n
	}
	return n
}

// cut takes a node out that nothing needs any more, and returns its parent.
func (t *Tree[T]) cut(n *node[T]) *node[T] {
	n.parent.kids--
	switch n.level {
	case "+":
		n.parent.plus = nil
	case "#":
		n.parent.hash = nil
	default:
		delete(t.edges, edge[T]{n.parent, n.level})
	}
	return n.parent
}
