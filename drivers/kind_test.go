package drivers_test

import (
	"context"
	"fmt"
	"testing"

	"edgegateway/drivers"
)

// twoSeats takes two things.
type twoSeats struct{ Left, Right, Shared string }

func (o twoSeats) Validate() error {
	var m drivers.Mistakes
	m.If(o.Left == "", "left is missing")
	var right drivers.Mistakes
	right.If(o.Right == "", "seat is missing")
	right.If(o.Right == o.Left, "seat is the left one")
	m.Add("right.", right.Err())
	return m.Err()
}

func (o twoSeats) Uses() []drivers.Use {
	return []drivers.Use{{What: o.Left, Key: "left"}, {What: o.Right, Key: "right.seat"}, {What: "all", Shared: o.Shared, Key: "left"}}
}

func TestWhatWrongOptionsTakeIsWhatIsRight(t *testing.T) {
	for _, c := range []struct {
		o    twoSeats
		want string
	}{
		{twoSeats{"a", "b", "s"}, "[{a  left} {b  right.seat} {all s left}] <nil>"},
		{twoSeats{"a", "", "s"}, "[{a  left}] right.seat is missing"}, // how it is shared may follow from a mistake
		{twoSeats{"", "b", ""}, "[{b  right.seat}] left is missing"},
		{twoSeats{"", "", ""}, "[] left is missing\nright.seat is missing\nright.seat is the left one"},
	} {
		kind := drivers.KindOf("seats", "", "", func() twoSeats { return c.o },
			func(context.Context, twoSeats, drivers.Ports) (drivers.Device, error) { panic("nothing is opened") })
		uses, err := kind.Uses(func(any) error { return nil })
		if got := fmt.Sprint(uses, " ", err); got != c.want {
			t.Errorf("%v: got %q, want %q", c.o, got, c.want)
		}
	}
}
