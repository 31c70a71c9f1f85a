package broker

import "math/rand/v2"

// Strategies of shared subscriptions.
const (
	roundRobin = "round-robin" // one after the other
	random     = "random"
	sticky     = "sticky"      // the same one, as long as it is there
	hashClient = "hash-client" // all messages of a publisher to one
	hashTopic  = "hash-topic"  // all messages of a topic to one
)

var strategies = [...]string{roundRobin, random, sticky, hashClient, hashTopic}

// chooser chooses one of n members. It has no lock, and knows a member by its
// place and by a number that stays the same.
type chooser struct {
	strategy string
	next     int    // round robin: where to look first
	stuck    uint64 // sticky: the number of the member; 0: none
}

// choose returns the place of one that is able, -1 if none is. key is what the
// strategies that go by a hash go by.
func (c *chooser) choose(n int, number func(int) uint64, able func(int) bool, key string) int {
	switch c.strategy {
	case random:
		return c.random(n, able)
	case sticky:
		return c.sticky(n, number, able)
	case hashClient, hashTopic:
		return byHash(n, number, able, key)
	}
	return c.inTurn(n, able)
}

func (c *chooser) inTurn(n int, able func(int) bool) int {
	if c.next >= n {
		c.next = 0
	}
	for range n {
		at := c.next
		if c.next++; c.next == n {
			c.next = 0
		}
		if able(at) {
			return at
		}
	}
	return -1
}

func (c *chooser) random(n int, able func(int) bool) int {
	count := 0
	for i := range n {
		if able(i) {
			count++
		}
	}
	if count == 0 {
		return -1
	}
	skip := rand.IntN(count)
	for i := range n {
		if able(i) {
			if skip == 0 {
				return i
			}
			skip--
		}
	}
	return -1
}

func (c *chooser) sticky(n int, number func(int) uint64, able func(int) bool) int {
	if c.stuck != 0 {
		for i := range n {
			if number(i) == c.stuck && able(i) {
				return i
			}
		}
	}
	at := c.inTurn(n, able)
	if at >= 0 {
		c.stuck = number(at)
	}
	return at
}

// byHash gives a key to the member with the highest weight. So when a member
// comes or goes, only the keys move that it gets or had.
func byHash(n int, number func(int) uint64, able func(int) bool, key string) int {
	h := fnv(key)
	best, most := -1, uint64(0)
	for i := range n {
		if w := mix(h ^ number(i)); (best < 0 || w > most) && able(i) {
			best, most = i, w
		}
	}
	return best
}

// fnv is FNV-1a of 64 bits.
func fnv(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix spreads every bit over all others: the last step of MurmurHash3.
func mix(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
