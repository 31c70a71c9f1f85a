package drivers

import (
	"fmt"
	"testing"
)

func TestANewerReadingDecidesWhatIsBad(t *testing.T) {
	for _, c := range []struct {
		name       string
		old, newer Reading
		want       string
	}{
		{"bad after good", Reading{Values: []Value{{"a", 1.0}, {"b", 2.0}}}, Reading{Bad: []string{"a"}}, "[{b 2}] [a]"},
		{"good after bad", Reading{Bad: []string{"a", "b"}}, Reading{Values: []Value{{"a", 1.0}}}, "[{a 1}] [b]"},
		{"bad twice", Reading{Bad: []string{"a"}}, Reading{Bad: []string{"a"}}, "[] [a]"},
	} {
		mine := c.newer.Bad
		merge(&c.old, c.newer)
		if got := fmt.Sprint(c.old.Values, " ", c.old.Bad); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		if len(mine) > 0 && mine[0] != "a" {
			t.Errorf("%s: the driver's own list was changed", c.name)
		}
	}
}

func TestAReadingThatWaitsStaysSmall(t *testing.T) {
	var all Reading
	for i := range 3 * mostValues {
		merge(&all, Reading{Values: []Value{{fmt.Sprint("v", i), i}}, Bad: []string{fmt.Sprint("b", i)}})
	}
	all.Note = "switched off"
	merge(&all, Reading{Values: []Value{{"v7", "new"}}})
	if all.Note != "switched off" {
		t.Errorf("the note has become %q", all.Note)
	}
	if len(all.Values) != mostValues || len(all.Bad) != mostValues || all.Values[7].V != "new" {
		t.Errorf("%d values, %d bad, v7 = %v", len(all.Values), len(all.Bad), all.Values[7].V)
	}
}
