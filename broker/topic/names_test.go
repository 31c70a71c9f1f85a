package topic_test

import (
	"fmt"
	"slices"
	"testing"

	"edgegateway/broker/topic"
)

func TestNamesHoldTheLastValue(t *testing.T) {
	var n topic.Names[string]
	if _, ok := n.Get("a"); ok || n.Len() != 0 || n.Delete("a") {
		t.Error("an empty collection holds something")
	}
	if !n.Set("a", "1") || n.Set("a", "2") {
		t.Error("Set does not tell a new name from an old one")
	}
	if v, ok := n.Get("a"); v != "2" || !ok {
		t.Errorf("Get = %q, %v", v, ok)
	}
	if !n.Delete("a") || n.Delete("a") || n.Len() != 0 {
		t.Error("Delete does not tell what was there")
	}
}

// 10,000 names go in and out in an order of their own and are always in order.
func TestNamesStayInOrderThroughPages(t *testing.T) {
	var n topic.Names[int]
	const count, stride = 10_000, 7919 // a prime: every number once, in no order
	for i := range count {
		k := i * stride % count
		n.Set(fmt.Sprintf("d/%05d", k), k)
	}
	if n.Len() != count || n.Pages() < count/256 {
		t.Fatalf("Len %d in %d pages", n.Len(), n.Pages())
	}
	next := 0
	n.Match("d/+", func(name string, v int) bool {
		if v != next || name != fmt.Sprintf("d/%05d", v) {
			t.Fatalf("%q with %d, want %d", name, v, next)
		}
		next++
		return true
	})
	for i := range count - 3 {
		if k := i * stride % count; !n.Delete(fmt.Sprintf("d/%05d", k)) {
			t.Fatalf("%d is gone", k)
		}
	}
	if n.Len() != 3 || n.Pages() > 3 {
		t.Errorf("Len %d in %d pages, want 3 names", n.Len(), n.Pages())
	}
}

func TestMatchStopsWhenYieldSaysSo(t *testing.T) {
	var n topic.Names[int]
	for i := range 1000 {
		n.Set(fmt.Sprintf("%04d", i), i)
	}
	seen := 0
	n.Match("#", func(string, int) bool { seen++; return seen < 300 })
	if seen != 300 {
		t.Errorf("%d values, want 300", seen)
	}
}

// A long stretch of names that do not match is no end.
func TestMatchGoesOnBehindNamesThatDoNotMatch(t *testing.T) {
	var n topic.Names[int]
	for i := range 1000 {
		n.Set(fmt.Sprintf("%04d", i), i)
	}
	n.Set("z/x", 7)
	got := 0
	n.Match("+/x", func(_ string, v int) bool { got += v; return true })
	if got != 7 {
		t.Errorf("found %d, want 7", got)
	}
}

// A replay in pieces, with names that come, change and go in between, gives every
// name that stays exactly once.
func TestAReplayInPiecesSurvivesChanges(t *testing.T) {
	for _, filter := range []string{"#", "d/+/state", "+/+/state", "d/#"} {
		for _, limit := range []int{0, 1, 7, 100, 5000} {
			var n topic.Names[int]
			for i := range 2000 {
				n.Set(fmt.Sprintf("d/%04d/state", i), i)
				n.Set(fmt.Sprintf("d/%04d/other", i), i)
			}
			seen := map[string]int{}
			pieces := 0
			for after, more := "", true; more; pieces++ {
				after, more = n.MatchFrom(filter, after, limit, func(name string, v int) bool {
					seen[name]++
					return true
				})
				if after != "" { // the name to go on from is gone, and its neighbours change
					n.Delete(after)
				}
				n.Set(fmt.Sprintf("d/%04d-new/state", pieces%2000), 0)
				n.Delete(fmt.Sprintf("d/%04d-new/state", (pieces+1000)%2000))
			}
			for i := range 2000 {
				if name := fmt.Sprintf("d/%04d/state", i); seen[name] != 1 {
					t.Fatalf("%s in pieces of %d: %q came %d times", filter, limit, name, seen[name])
				}
			}
			for name, times := range seen {
				if times != 1 || !topic.Match(filter, name) {
					t.Fatalf("%s in pieces of %d: %q came %d times", filter, limit, name, times)
				}
			}
			if limit == 100 && pieces < 20 {
				t.Errorf("%s: %d pieces of 100 for 2000 names", filter, pieces)
			}
		}
	}
}

// A piece of a replay looks at a bounded number of names, also if none matches.
func TestAPieceIsBoundedAlsoWithoutAMatch(t *testing.T) {
	var n topic.Names[int]
	for i := range 10_000 {
		n.Set(fmt.Sprintf("%05d", i), i) // + looks at each of them, and none has a second level
	}
	pieces := 0
	for after, more := "", true; more; pieces++ {
		after, more = n.MatchFrom("+/x", after, 10, func(name string, _ int) bool {
			t.Fatalf("%q does not match", name)
			return true
		})
	}
	if pieces < 1000 {
		t.Errorf("10,000 names in %d pieces of 10", pieces)
	}
}

// What lies below other names is not looked at: a filter that names its levels
// finds 10 values among 100,000 names in a few steps.
func TestAFilterLooksOnlyWhereItCanMatch(t *testing.T) {
	var n topic.Names[int]
	for site := range 10 {
		for i := range 10_000 {
			n.Set(fmt.Sprintf("site%d/%05d", site, i), i)
		}
		n.Set(fmt.Sprintf("site%d/x/state", site), site)
	}
	var got []int
	_, more := n.MatchFrom("+/x/state", "", 50, func(_ string, v int) bool { got = append(got, v); return true })
	if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; more || !slices.Equal(got, want) {
		t.Errorf("50 steps found %v, more %v; want %v", got, more, want)
	}
	got = nil
	_, more = n.MatchFrom("site3/x/state", "", 5, func(_ string, v int) bool { got = append(got, v); return true })
	if more || !slices.Equal(got, []int{3}) {
		t.Errorf("5 steps for one name found %v, more %v", got, more)
	}
}

func TestMatchOfNamesDoesNotAllocate(t *testing.T) {
	var n topic.Names[int]
	for i := range 10_000 {
		n.Set(fmt.Sprintf("a/name/that/is/longer/than/32/bytes/%05d/state", i), i)
		n.Set(fmt.Sprintf("a/name/that/is/longer/than/32/bytes/%05d/zzz", i), i)
	}
	for _, filter := range []string{"#", "a/name/that/is/longer/than/32/bytes/+/state", "a/name/that/is/longer/than/32/bytes/05000/#"} {
		seen := 0
		yield := func(string, int) bool { seen++; return true }
		if allocs := testing.AllocsPerRun(5, func() { n.MatchFrom(filter, "", 1000, yield) }); allocs != 0 || seen == 0 {
			t.Errorf("%s: %v allocations, %d values", filter, allocs, seen)
		}
	}
}
