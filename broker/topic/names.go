package topic

import (
	"slices"
	"sort"
)

// page is how many names stand in one page at most: a name is put in by moving
// at most so many.
const page = 256

// Names holds values under topic names and finds those that a filter matches.
// The zero Names is empty and ready. It does not lock: calls that change it must
// not run beside any other.
//
// Names are kept in the order of their bytes, in pages of sorted entries, so that
// whoever reads them in pieces can go on from any name, whatever came and went in
// between.
type Names[T any] struct {
	pages [][]entry[T] // none is empty
	n     int
}

type entry[T any] struct {
	name  string
	value T
}

// Set puts v under the name, which must be valid (ValidName), in place of the
// value that was there. It is true if the name is new.
func (n *Names[T]) Set(name string, v T) bool {
	if len(n.pages) == 0 {
		n.pages = [][]entry[T]{{{name, v}}}
		n.n = 1
		return true
	}
	at, found := n.find(name)
	if found {
		n.pages[at.page][at.entry].value = v
		return false
	}
	if at.page == len(n.pages) { // after all others: at the end of the last page
		at.page--
		at.entry = len(n.pages[at.page])
	}
	p := slices.Insert(n.pages[at.page], at.entry, entry[T]{name, v})
	n.pages[at.page] = p
	if len(p) > page {
		right := slices.Clone(p[page/2:])
		clear(p[page/2:])
		n.pages[at.page] = p[:page/2]
		n.pages = slices.Insert(n.pages, at.page+1, right)
	}
	n.n++
	return true
}

// Get returns the value under the name.
func (n *Names[T]) Get(name string) (v T, ok bool) {
	at, found := n.find(name)
	if !found {
		return v, false
	}
	return n.pages[at.page][at.entry].value, true
}

// Delete takes the name away. It is false if the name was not there.
func (n *Names[T]) Delete(name string) bool {
	at, found := n.find(name)
	if !found {
		return false
	}
	n.pages[at.page] = slices.Delete(n.pages[at.page], at.entry, at.entry+1)
	n.n--
	n.join(at.page)
	return true
}

// join drops a page that is empty, or joins it with the next while both together
// are small.
func (n *Names[T]) join(i int) {
	if len(n.pages[i]) == 0 {
		n.pages = slices.Delete(n.pages, i, i+1)
		return
	}
	if i+1 < len(n.pages) && len(n.pages[i])+len(n.pages[i+1]) <= page/2 {
		n.pages[i] = append(n.pages[i], n.pages[i+1]...)
		n.pages = slices.Delete(n.pages, i+1, i+2)
	}
}

// Len is the number of names.
func (n *Names[T]) Len() int { return n.n }

// place is where an entry stands; page is len(pages) after the last.
type place struct{ page, entry int }

// find returns the place of the name, or of the first name after it.
func (n *Names[T]) find(name string) (at place, found bool) {
	at = seek(n, place{}, name)
	return at, at.page < len(n.pages) && n.pages[at.page][at.entry].name == name
}

// seek returns the place of the first name from a place on that is not below
// least. Only comparing with string(least) makes no string.
func seek[T any, S string | []byte](n *Names[T], from place, least S) place {
	if from.page == len(n.pages) {
		return from
	}
	p := n.pages[from.page]
	if p[len(p)-1].name < string(least) {
		pages := n.pages[from.page+1:]
		from.page += 1 + sort.Search(len(pages), func(i int) bool {
			return pages[i][len(pages[i])-1].name >= string(least)
		})
		from.entry = 0
		if from.page == len(n.pages) {
			return from
		}
		p = n.pages[from.page]
	}
	p = p[from.entry:]
	from.entry += sort.Search(len(p), func(i int) bool { return p[i].name >= string(least) })
	return from
}

// next is the place after at.
func (n *Names[T]) next(at place) place {
	if at.entry++; at.entry == len(n.pages[at.page]) {
		return place{at.page + 1, 0}
	}
	return at
}
