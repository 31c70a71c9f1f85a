package serial

import (
	"math"
	"math/bits"
	"slices"
	"strconv"

	"edgegateway/drivers"
)

// A FrameField is one value of a frame.
type FrameField struct {
	Name  string `toml:"name"`
	At    int    `toml:"at"`    // of its first byte; 0 is the first of the header
	Type  string `toml:"type"`  // uint8, int8, uint16... uint24, uint32, uint64, float32, float64, bool; "" = uint8
	Order string `toml:"order"` // of its bytes: big, little; "" = big
	Mask  int64  `toml:"mask"`  // the bits that count, moved down to the lowest; 0 = all

	Scale    float64 `toml:"scale"` // value = raw × scale + offset; 0 = 1
	Offset   float64 `toml:"offset"`
	Decimals *int    `toml:"decimals"` // places behind the point; without it as many as scale and offset have
	NoValue  []int64 `toml:"no_value"` // raw numbers that mean that there is no value now

	Unit       string `toml:"unit"`
	Quantity   string `toml:"quantity"`
	Cumulative bool   `toml:"cumulative"` // a counter
}

// widths are the types, by their bytes.
func widths() map[string]int {
	return map[string]int{
		"": 1, "bool": 1, "uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint24": 3, "int24": 3,
		"uint32": 4, "int32": 4, "uint64": 8, "int64": 8, "float32": 4, "float64": 8,
	}
}

func (f FrameField) width() int { return widths()[f.Type] }

func (f FrameField) float() bool { return f.Type == "float32" || f.Type == "float64" }

func (f FrameField) linear() drivers.Linear {
	return drivers.Linear{Scale: f.Scale, Offset: f.Offset, Decimals: f.Decimals}
}

func (f FrameField) validate() error {
	_, known := widths()[f.Type]
	tooWide := f.Mask != 0 && (f.float() || f.width() < 8 && f.Mask>>(8*f.width()) != 0)
	var m drivers.Mistakes
	m.If(f.Name == "", "name must not be empty")
	m.If(!known, "type of %q is %q; there are uint8, int8, uint16, int16, uint24, int24, uint32, int32, uint64, int64, float32, float64, bool", f.Name, f.Type)
	m.If(f.At < 0 || f.At >= longestFrame, "at of %q must be between 0 and %d, not %d", f.Name, longestFrame-1, f.At)
	m.If(f.Order != "" && f.Order != "big" && f.Order != "little", "order of %q must be big or little, not %q", f.Name, f.Order)
	m.If(f.Mask < 0 || known && tooWide, "mask of %q does not fit its type", f.Name)
	m.If(f.Type == "bool" && (f.Scale != 0 || f.Offset != 0 || f.Decimals != nil || len(f.NoValue) > 0), "scale, offset, decimals and no_value are not for the bool %q", f.Name)
	m.If(f.float() && len(f.NoValue) > 0, "no_value of %q is for whole numbers; a float has NaN for that", f.Name)
	m.Add("", f.linear().Validate())
	return m.Err()
}

func (f FrameField) channel() drivers.Channel {
	c := drivers.Channel{Name: f.Name, Unit: f.Unit, Quantity: drivers.Quantity(f.Quantity), Type: drivers.Float, Cumulative: f.Cumulative}
	switch {
	case f.Type == "bool":
		c.Type = drivers.Bool
	case !f.float() && f.linear().Whole():
		c.Type = drivers.Int
	}
	return c
}

// decode gives the value in a frame that is long enough; nil if there is none now.
func (f FrameField) decode(frame []byte) any {
	b := slices.Clone(frame[f.At : f.At+f.width()])
	if f.Order == "little" {
		slices.Reverse(b)
	}
	var raw uint64
	for _, x := range b {
		raw = raw<<8 | uint64(x)
	}
	width := 8 * f.width()
	if f.Mask != 0 {
		low := bits.TrailingZeros64(uint64(f.Mask))
		raw = raw & uint64(f.Mask) >> low
		width = bits.Len64(uint64(f.Mask)) - low
	}
	switch {
	case f.Type == "bool":
		return raw != 0
	case f.Type == "float32":
		return f.real(float64(math.Float32frombits(uint32(raw))), 32)
	case f.Type == "float64":
		return f.real(math.Float64frombits(raw), 64)
	}
	number := int64(raw)
	if f.Type != "" && f.Type[0] == 'i' {
		number = int64(raw<<(64-width)) >> (64 - width) // the highest of its bits is the sign
	}
	switch {
	case slices.Contains(f.NoValue, number), slices.Contains(f.NoValue, int64(raw)):
		return nil
	case f.Type == "uint64" && raw > math.MaxInt64:
		return f.linear().Float(float64(raw))
	}
	return f.linear().Int(number)
}

// real gives the value of a float. NaN stays, and is told as a fault further on.
func (f FrameField) real(x float64, size int) any {
	if f.Decimals != nil {
		return f.linear().Float(x)
	}
	// The shortest decimal number that is this float: 21.3, not 21.299999237.
	if short, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', -1, size), 64); err == nil {
		x = short
	}
	if f.Scale == 0 && f.Offset == 0 {
		return x
	}
	return f.linear().Unrounded(x)
}
