package broker

import (
	"fmt"
	"slices"
	"testing"
)

func TestStrategiesChoose(t *testing.T) {
	all := []bool{true, true, true}
	for _, c := range []struct {
		name, strategy string
		able           [][]bool // per message
		want           []int
	}{
		{"round-robin takes turns", roundRobin, [][]bool{all, all, all, all}, []int{0, 1, 2, 0}},
		{"round-robin leaves out who is not able", roundRobin, [][]bool{all, {true, false, true}, all}, []int{0, 2, 0}},
		{"round-robin with nobody", roundRobin, [][]bool{{false, false, false}, nil, all}, []int{-1, -1, 0}},
		{"round-robin when the last has gone", roundRobin, [][]bool{all, all, {true, true}, {true, true}}, []int{0, 1, 0, 1}},
		{"sticky stays", sticky, [][]bool{all, all, all}, []int{0, 0, 0}},
		{"sticky goes on when it must, and stays there", sticky, [][]bool{all, {false, true, true}, all}, []int{0, 1, 1}},
		{"random takes the only one", random, [][]bool{{false, true, false}, {false, false, true}}, []int{1, 2}},
		{"random with nobody", random, [][]bool{{false}, nil}, []int{-1, -1}},
		{"a hash takes the only one", hashTopic, [][]bool{{false, true, false}, {true, false, false}}, []int{1, 0}},
		{"a hash with nobody", hashTopic, [][]bool{{false}, nil}, []int{-1, -1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ch := chooser{strategy: c.strategy}
			for i, able := range c.able {
				got := ch.choose(len(able), func(i int) uint64 { return fnv(fmt.Sprint("member", i)) }, func(i int) bool { return able[i] }, "key")
				if got != c.want[i] {
					t.Fatalf("message %d went to %d, want %d", i, got, c.want[i])
				}
			}
		})
	}
}

func TestRandomReachesEverybodyEqually(t *testing.T) {
	c := chooser{strategy: random}
	var count [5]int
	const n = 40000
	for range n {
		count[c.choose(5, nil, func(i int) bool { return i != 2 }, "")]++
	}
	for i, got := range count {
		if want := n / 4; i != 2 && (got < want*9/10 || got > want*11/10) || i == 2 && got != 0 {
			t.Errorf("member %d got %d of %d", i, got, n)
		}
	}
}

// A key stays where it is unless its member goes, and then only its keys move.
func TestHashMovesOnlyWhatItMust(t *testing.T) {
	members := []string{"a", "b", "c", "d"}
	place := func(members []string, key string) string {
		c := chooser{strategy: hashClient}
		i := c.choose(len(members), func(i int) uint64 { return fnv(members[i]) }, func(int) bool { return true }, key)
		return members[i]
	}
	count := make(map[string]int)
	const n = 4000
	for i := range n {
		key := fmt.Sprint("client", i)
		at := place(members, key)
		count[at]++
		if again := place([]string{"d", "c", "b", "a"}, key); again != at {
			t.Fatalf("%s: in another order it is at %s, not %s", key, again, at)
		}
		if without := place(slices.DeleteFunc(slices.Clone(members), func(m string) bool { return m == "c" }), key); at != "c" && without != at {
			t.Fatalf("%s moved from %s to %s though only c went", key, at, without)
		}
	}
	for _, m := range members {
		if want := n / 4; count[m] < want*85/100 || count[m] > want*115/100 {
			t.Errorf("%s has %d keys of %d", m, count[m], n)
		}
	}
}
