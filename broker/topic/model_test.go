package topic_test

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"edgegateway/broker/topic"
)

var (
	seed  = flag.Uint64("seed", 0, "seed of the model tests; 0 takes the clock")
	steps = flag.Int("steps", 10_000, "steps of the model tests")
)

func random(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("go test -run %s -seed %d -steps %d", t.Name(), s, *steps)
	return rand.New(rand.NewPCG(s, 0))
}

// Few levels of few letters, so that names and filters meet; with letters that
// sort before and behind the slash, and empty levels.
var levels = []string{"", "a", "b", "ab", "a!", "a0", "$", "$a", "%", "!", "-", "~"}

func randomTopic(r *rand.Rand, wild bool) string {
	for {
		var s []string
		for range 1 + r.IntN(4) {
			level := levels[r.IntN(len(levels))]
			if wild && r.IntN(3) == 0 {
				level = "+"
			}
			s = append(s, level)
		}
		if wild && r.IntN(3) == 0 {
			s[len(s)-1] = "#"
		}
		if s := strings.Join(s, "/"); s != "" {
			return s
		}
	}
}

// slowMatch says what matches in the plainest words: a filter is a list of
// levels, and so is a name.
func slowMatch(filter, name string) bool {
	f, n := strings.Split(filter, "/"), strings.Split(name, "/")
	if strings.HasPrefix(name, "$") && (f[0] == "+" || f[0] == "#") {
		return false
	}
	if f[len(f)-1] == "#" {
		f = f[:len(f)-1]
		if len(n) < len(f) {
			return false
		}
		n = n[:len(f)]
	}
	return slices.EqualFunc(f, n, func(f, n string) bool { return f == "+" || f == n })
}

func TestMatchIsWhatTheModelSays(t *testing.T) {
	r := random(t)
	for range *steps {
		filter, name := randomTopic(r, true), randomTopic(r, false)
		if r.IntN(10) == 0 {
			filter = name
		}
		if got, want := topic.Match(filter, name), slowMatch(filter, name); got != want {
			t.Fatalf("Match(%q, %q) = %v, the model says %v", filter, name, got, want)
		}
	}
}

func TestTreeIsWhatTheModelSays(t *testing.T) {
	type key struct {
		filter string
		value  int
	}
	r := random(t)
	var tree topic.Tree[int]
	model := map[key]bool{}
	for step := range *steps {
		// The tree grows and shrinks in turns.
		k := key{randomTopic(r, true), r.IntN(50)}
		if add := r.IntN(10) < 3+step/1000%2*5; add {
			if got, want := tree.Add(k.filter, k.value), !model[k]; got != want {
				t.Fatalf("step %d: Add(%q, %d) = %v", step, k.filter, k.value, got)
			}
			model[k] = true
		} else {
			if r.IntN(2) == 0 {
				for k = range model { // one that is there
					break
				}
			}
			if got, want := tree.Remove(k.filter, k.value), model[k]; got != want {
				t.Fatalf("step %d: Remove(%q, %d) = %v", step, k.filter, k.value, got)
			}
			delete(model, k)
		}
		if tree.Len() != len(model) {
			t.Fatalf("step %d: Len = %d, want %d", step, tree.Len(), len(model))
		}
		if step%20 > 0 {
			continue
		}
		name := randomTopic(r, false)
		var want []int
		nodes := map[string]bool{}
		for k := range model {
			if slowMatch(k.filter, name) {
				want = append(want, k.value)
			}
			for i := range len(k.filter) + 1 {
				if i == len(k.filter) || k.filter[i] == '/' {
					nodes[k.filter[:i]+"."] = true
				}
			}
		}
		slices.Sort(want)
		if got := found(&tree, name); !slices.Equal(got, want) {
			t.Fatalf("step %d: %q finds %v, the model %v", step, name, got, want)
		}
		if step%1000 == 0 && tree.Nodes() != len(nodes) {
			t.Fatalf("step %d: %d nodes, the filters have %d levels", step, tree.Nodes(), len(nodes))
		}
	}
}

func TestNamesAreWhatTheModelSays(t *testing.T) {
	r := random(t)
	var names topic.Names[int]
	model := map[string]int{}
	for step := range *steps {
		name := randomTopic(r, false)
		if r.IntN(10) < 4+step/3000%2*3 {
			_, was := model[name]
			if got := names.Set(name, step); got == was {
				t.Fatalf("step %d: Set(%q) = %v", step, name, got)
			}
			model[name] = step
		} else {
			_, was := model[name]
			if got := names.Delete(name); got != was {
				t.Fatalf("step %d: Delete(%q) = %v", step, name, got)
			}
			delete(model, name)
		}
		name = randomTopic(r, false)
		want, was := model[name]
		if got, ok := names.Get(name); got != want || ok != was || names.Len() != len(model) {
			t.Fatalf("step %d: Get(%q) = %d, %v, Len %d; want %d, %v, %d", step, name, got, ok, names.Len(), want, was, len(model))
		}
		if step%20 > 0 {
			continue
		}
		filter := randomTopic(r, true)
		var wantNames, gotNames []string
		for name := range model {
			if slowMatch(filter, name) {
				wantNames = append(wantNames, name)
			}
		}
		slices.Sort(wantNames)
		for after, more := "", true; more; {
			after, more = names.MatchFrom(filter, after, r.IntN(20), func(name string, v int) bool {
				if v != model[name] {
					t.Fatalf("step %d: %q has %d, want %d", step, name, v, model[name])
				}
				gotNames = append(gotNames, name)
				return r.IntN(5) > 0
			})
		}
		if !slices.Equal(gotNames, wantNames) {
			t.Fatalf("step %d: %q gives %q\nthe model %q", step, filter, gotNames, wantNames)
		}
	}
}

// FuzzMatch lets the three ways to match judge any filter and names: they agree
// with the model.
func FuzzMatch(f *testing.F) {
	for _, c := range matches {
		f.Add(c.filter, c.name, c.name+"!")
	}
	f.Fuzz(func(t *testing.T, filter, a, b string) {
		if topic.ValidFilter(filter) != nil || topic.ValidName(a) != nil || topic.ValidName(b) != nil {
			return
		}
		var tree topic.Tree[int]
		tree.Add(filter, 1)
		var names topic.Names[int]
		names.Set(a, 1)
		names.Set(b, 1)
		var got []string
		names.Match(filter, func(name string, _ int) bool { got = append(got, name); return true })
		for _, name := range []string{a, b} {
			want := slowMatch(filter, name)
			if topic.Match(filter, name) != want {
				t.Errorf("Match(%q, %q) is not %v", filter, name, want)
			}
			if (found(&tree, name) != nil) != want {
				t.Errorf("a tree with %q does not say %v of %q", filter, want, name)
			}
			if slices.Contains(got, name) != want {
				t.Errorf("names %q, %q: %q gives %q", a, b, filter, got)
			}
			if _, ok := topic.Captures(filter, name, nil); ok != want {
				t.Errorf("Captures(%q, %q) is not %v", filter, name, want)
			}
		}
		if !tree.Remove(filter, 1) || tree.Nodes() != 0 || tree.Edges() != 0 {
			t.Errorf("%q leaves %d nodes", filter, tree.Nodes())
		}
	})
}
