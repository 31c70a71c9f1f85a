package bench

import "sort"

// A track is what one subscriber has seen of one stream.
type track struct {
	next    uint64 // above all numbers that have arrived
	missing []span // what has not arrived below next, ascending
}

type span struct{ from, to uint64 } // to is not part of it

type verdict byte

const (
	inOrder   verdict = iota
	late              // for the first time, after one that was sent after it
	duplicate         // not for the first time
)

// arrived notes a message.
func (t *track) arrived(number uint64) verdict {
	switch {
	case number == t.next:
		t.next++
		return inOrder
	case number > t.next: // those between may be late, or lost
		t.missing = append(t.missing, span{t.next, number})
		t.next = number + 1
		return inOrder
	}
	i := sort.Search(len(t.missing), func(i int) bool { return t.missing[i].to > number })
	if i == len(t.missing) || t.missing[i].from > number {
		return duplicate
	}
	switch m := &t.missing[i]; {
	case m.from == number && m.to == number+1:
		t.missing = append(t.missing[:i], t.missing[i+1:]...)
	case m.from == number:
		m.from++
	case m.to == number+1:
		m.to--
	default: // it leaves two
		t.missing = append(t.missing, span{})
		copy(t.missing[i+1:], t.missing[i:])
		t.missing[i].to, t.missing[i+1].from = number, number+1
	}
	return late
}
