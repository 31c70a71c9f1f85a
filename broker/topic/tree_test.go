package topic_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"edgegateway/broker/topic"
)

func found(tree *topic.Tree[int], name string) []int {
	var got []int
	tree.Match(name, func(v int) { got = append(got, v) })
	slices.Sort(got)
	return got
}

func TestAValueIsYieldedOncePerFilter(t *testing.T) {
	var tree topic.Tree[int]
	for _, f := range []string{"a/b", "a/+", "+/b", "+/+", "a/#", "#", "a/b/#", "a/b/c", "b"} {
		if !tree.Add(f, 7) {
			t.Errorf("%q was there already", f)
		}
	}
	tree.Add("a/b", 8)
	if got, want := found(&tree, "a/b"), []int{7, 7, 7, 7, 7, 7, 7, 8}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if tree.Len() != 10 {
		t.Errorf("Len = %d, want 10", tree.Len())
	}
}

func TestAddAndRemoveSayWhatChanged(t *testing.T) {
	var tree topic.Tree[int]
	steps := []struct {
		op   string
		f    string
		v    int
		want bool
	}{
		{"remove", "a", 1, false},
		{"add", "a", 1, true},
		{"add", "a", 1, false},
		{"add", "a", 2, true},
		{"remove", "a/b", 1, false},
		{"remove", "a", 3, false},
		{"remove", "#", 1, false},
		{"remove", "a", 1, true},
		{"remove", "a", 1, false},
		{"remove", "a", 2, true},
	}
	for i, s := range steps {
		op := tree.Add
		if s.op == "remove" {
			op = tree.Remove
		}
		if got := op(s.f, s.v); got != s.want {
			t.Errorf("step %d: %s %q %d = %v", i, s.op, s.f, s.v, got)
		}
	}
	if tree.Len() != 0 {
		t.Errorf("Len = %d at the end", tree.Len())
	}
}

// A filter with a value for every client finds, adds and removes each of them.
func TestManyValuesUnderOneFilter(t *testing.T) {
	var tree topic.Tree[int]
	const n = 1000
	for v := range n {
		if !tree.Add("a/+", v) || tree.Add("a/+", v) {
			t.Fatalf("value %d is not added once", v)
		}
	}
	for v := 0; v < n; v += 2 {
		if !tree.Remove("a/+", v) || tree.Remove("a/+", v) {
			t.Fatalf("value %d is not removed once", v)
		}
	}
	got := found(&tree, "a/b")
	for i, v := range got {
		if v != 2*i+1 {
			t.Fatalf("value %d at %d, want %d", v, i, 2*i+1)
		}
	}
	if len(got) != n/2 || tree.Len() != n/2 {
		t.Errorf("%d values, Len %d, want %d", len(got), tree.Len(), n/2)
	}
	for v := 1; v < n; v += 2 {
		if !tree.Remove("a/+", v) {
			t.Fatalf("value %d is gone", v)
		}
	}
	if got := found(&tree, "a/b"); got != nil {
		t.Errorf("%v are left", got)
	}
}

// What is added and removed again leaves no memory behind.
func TestEmptyLevelsArePruned(t *testing.T) {
	var tree topic.Tree[int]
	tree.Add("keep/+/this", 1)
	before := shape(&tree)
	filters := []string{"keep", "keep/#", "keep/+/this/too", "keep/x/this", "+/+/#", "other/a/b/c", "#", strings.Repeat("a/", 1000) + "a"}
	for _, f := range filters {
		tree.Add(f, 2)
	}
	if shape(&tree) == before {
		t.Fatal("the measure does not see filters")
	}
	for _, f := range filters {
		tree.Remove(f, 2)
	}
	if after := shape(&tree); after != before {
		t.Errorf("nodes before %v, after %v", before, after)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	var tree topic.Tree[int]
	for i := range 1000 {
		tree.Add(fmt.Sprintf("site/%d/+/state", i), i)
	}
	tree.Add("#", -1)
	sum := 0
	yield := func(v int) { sum += v }
	if n := testing.AllocsPerRun(100, func() { tree.Match("site/500/boiler/state", yield) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if want := 101 * 499; sum != want { // one warm-up run
		t.Errorf("sum %d, want %d", sum, want)
	}
}

// shape is how much memory a tree holds on to, in nodes.
func shape(tree *topic.Tree[int]) [2]int { return [2]int{tree.Nodes(), tree.Edges()} }
