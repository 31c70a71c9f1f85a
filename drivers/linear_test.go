package drivers_test

import (
	"math"
	"testing"

	"edgegateway/drivers"
)

func TestLinearGivesWhatAPersonWouldWrite(t *testing.T) {
	two := 2
	zero := 0
	for _, c := range []struct {
		l    drivers.Linear
		raw  int64
		want any
	}{
		{drivers.Linear{}, 1 << 62, int64(1 << 62)},
		{drivers.Linear{Scale: 1}, -3, int64(-3)},
		{drivers.Linear{Scale: 0.1}, 217, 21.7},
		{drivers.Linear{Scale: 0.1, Offset: -40}, 3, -39.7},
		{drivers.Linear{Scale: 0.01, Offset: 0.5}, 7, 0.57},
		{drivers.Linear{Scale: 10}, 7, 70.0},
		{drivers.Linear{Scale: 1.0 / 3, Decimals: &two}, 1, 0.33},
		{drivers.Linear{Scale: 0.1, Decimals: &zero}, 25, 3.0},
	} {
		if got := c.l.Int(c.raw); got != c.want {
			t.Errorf("%+v of %d: %v (%T), want %v (%T)", c.l, c.raw, got, got, c.want, c.want)
		}
	}
}

func TestLinearTurnsValuesBack(t *testing.T) {
	l := drivers.Linear{Scale: 0.1, Offset: -40}
	for raw := range int64(1000) {
		if got := math.Round(l.Raw(l.Int(raw).(float64))); got != float64(raw) {
			t.Fatalf("%d became %v", raw, got)
		}
	}
}

func TestRoundKeepsWhatHasNoPlaces(t *testing.T) {
	for _, f := range []float64{math.MaxFloat64, math.Inf(1), -1e300} {
		if got := drivers.Round(f, 12); got != f {
			t.Errorf("%v became %v", f, got)
		}
	}
	if got := drivers.Round(math.NaN(), 2); !math.IsNaN(got) {
		t.Errorf("NaN became %v", got)
	}
}

func TestRoundGivesNoMinusZero(t *testing.T) {
	for _, f := range []float64{-0.004, math.Copysign(0, -1)} {
		if got := drivers.Round(f, 2); got != 0 || math.Signbit(got) {
			t.Errorf("%v became %v", f, got)
		}
	}
}
