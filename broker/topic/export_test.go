package topic

// Nodes is how many levels the tree holds.
func (t *Tree[T]) Nodes() int {
	var count func(n *node[T]) int
	count = func(n *node[T]) int {
		if n == nil {
			return 0
		}
		sum := 1 + count(n.plus) + count(n.hash)
		for e, below := range t.edges {
			if e.parent == n {
				sum += count(below)
			}
		}
		return sum
	}
	return count(&t.root) - 1
}

// Edges is how many literal levels the tree can find.
func (t *Tree[T]) Edges() int { return len(t.edges) }

// Pages is how many pages the names are in.
func (n *Names[T]) Pages() int { return len(n.pages) }
