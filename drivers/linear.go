package drivers

import (
	"math"
	"strconv"
	"strings"
)

// A Linear turns the raw numbers of a device into values and back:
// value = raw × Scale + Offset. Scale 0 means 1.
type Linear struct {
	Scale, Offset float64

	// Decimals is the number of places behind the point that values are rounded to;
	// nil means as many as Scale and Offset are written with. 217 × 0.1 is then 21.7
	// and not 21.700000000000003.
	Decimals *int
}

// MostDecimals is the largest number of places that Validate lets pass.
const MostDecimals = 12

// What Validate lets pass of Scale and Offset. No unit needs more, and no raw number but
// that of a float64 becomes infinite by it, or the same as every other one.
const (
	leastScale = 1e-30
	mostScale  = 1e30
)

// Validate returns a sentence that begins with the key that is wrong, or several.
func (l Linear) Validate() error {
	var m Mistakes
	size := math.Abs(l.Scale)
	m.If(l.Scale != 0 && !(size >= leastScale && size <= mostScale), "scale must be between %v and %v, or these below zero, not %v", leastScale, mostScale, l.Scale)
	m.If(!(math.Abs(l.Offset) <= mostScale), "offset must be between -%v and %v, not %v", mostScale, mostScale, l.Offset)
	if d := l.Decimals; d != nil {
		m.If(*d < 0 || *d > MostDecimals, "decimals must be between 0 and %d, not %d", MostDecimals, *d)
	}
	return m.Err()
}

func (l Linear) scale() float64 {
	if l.Scale == 0 {
		return 1
	}
	return l.Scale
}

// Whole tells whether whole raw numbers are whole values, which Int then gives.
func (l Linear) Whole() bool { return l.places() == 0 && l.Offset == 0 && l.scale() == 1 }

// Int gives the value of a whole raw number: int64 if Whole, else float64.
func (l Linear) Int(raw int64) any {
	if l.Whole() {
		return raw
	}
	return l.Float(float64(raw))
}

// Float gives the value of a raw number. NaN and infinities stay what they are.
func (l Linear) Float(raw float64) float64 {
	return Round(l.Unrounded(raw), l.places())
}

// Unrounded is Float without the rounding.
func (l Linear) Unrounded(raw float64) float64 { return raw*l.scale() + l.Offset }

// Raw gives the raw number of a value, not rounded.
func (l Linear) Raw(value float64) float64 { return (value - l.Offset) / l.scale() }

func (l Linear) places() int {
	if l.Decimals != nil {
		return *l.Decimals
	}
	return min(max(placesOf(l.scale()), placesOf(l.Offset)), MostDecimals)
}

// placesOf counts the places of the shortest way to write a number.
func placesOf(f float64) int {
	_, places, _ := strings.Cut(strconv.FormatFloat(f, 'f', -1, 64), ".")
	return len(places)
}

// Round rounds to so many places behind the point, halves away from zero. What becomes
// zero has no sign.
func Round(f float64, places int) float64 {
	shift := math.Pow10(places)
	if math.IsInf(f*shift, 0) {
		return f // has no such places
	}
	return math.Round(f*shift)/shift + 0
}
