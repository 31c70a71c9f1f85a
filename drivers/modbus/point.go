package modbus

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"edgegateway/drivers"
)

// A Point is one value of a unit.
type Point struct {
	Name    string `toml:"name"`
	Table   string `toml:"table"`   // coil, discrete, holding, input; "" = holding
	Address int    `toml:"address"` // counted as count_from says
	Type    string `toml:"type"`    // bool, uint16, int16, uint32, int32, uint64, int64, float32, float64; "" = uint16, or bool for coils and discrete inputs
	Order   string `toml:"order"`   // of the bytes A to D of 32 bits as they come: ABCD, CDAB, BADC, DCBA; "" = ABCD
	Bit     *int   `toml:"bit"`     // of a register, 0 is the lowest: the value is a bool

	Scale    float64 `toml:"scale"` // value = raw × scale + offset; 0 = 1
	Offset   float64 `toml:"offset"`
	Decimals *int    `toml:"decimals"` // places behind the point; without it as many as scale and offset have
	NoValue  []int64 `toml:"no_value"` // raw numbers that mean that there is no value now, like [0x8000]

	Unit       string `toml:"unit"`
	Quantity   string `toml:"quantity"`   // e.g. "voltage"
	Cumulative bool   `toml:"cumulative"` // a counter

	Writable bool    `toml:"writable"` // coil, holding
	Min      float64 `toml:"min"`      // of commands; both 0: what the type can hold
	Max      float64 `toml:"max"`
	Function int     `toml:"write_function"` // 5, 6, 15 or 16; 0 = 5 for a coil, 6 for one register, 16 for more
	NoRead   bool    `toml:"write_only"`     // it is never read
	Safe     any     `toml:"safe"`           // what it is set to when the device is opened, closed or to be safe; without it, it stays
}

func tables() []string { return []string{"coil", "discrete", "holding", "input"} }
func orders() []string { return []string{"ABCD", "CDAB", "BADC", "DCBA"} }
func types() []string {
	return []string{"bool", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"}
}

// normal fills in what an empty key stands for.
func (p Point) normal() Point {
	if p.Table == "" {
		p.Table = "holding"
	}
	if p.Type == "" {
		p.Type = "uint16"
		if p.bits() || p.Bit != nil {
			p.Type = "bool"
		}
	}
	if p.Order == "" {
		p.Order = "ABCD"
	}
	if p.Function == 0 {
		switch {
		case p.bits():
			p.Function = writeSingleCoil
		case p.width() == 1:
			p.Function = writeSingleRegister
		default:
			p.Function = writeMultipleRegisters
		}
	}
	return p
}

// bits tells whether the point is in a table of single bits.
func (p Point) bits() bool { return p.Table == "coil" || p.Table == "discrete" }

// width is the number of registers, or bits, of a normal point.
func (p Point) width() int {
	switch p.Type {
	case "uint32", "int32", "float32":
		return 2
	case "uint64", "int64", "float64":
		return 4
	}
	return 1
}

func (p Point) linear() drivers.Linear {
	return drivers.Linear{Scale: p.Scale, Offset: p.Offset, Decimals: p.Decimals}
}

// validate checks a point; first is what the addresses are counted from. What is said
// of one key may follow from another one, so that there is one sentence for each.
func (p Point) validate(first int) error {
	p = p.normal()
	var m drivers.Mistakes
	fail := func(key, format string, args ...any) {
		m.If(true, "%s of %q %s", key, p.Name, fmt.Sprintf(format, args...))
	}
	m.If(p.Name == "", "name must not be empty")
	m.If(p.Writable && strings.ContainsAny(p.Name, "/+#"), "name is %q; of a point that commands set it must not have / + or #, because it is a level of a topic", p.Name)
	table, known := slices.Contains(tables(), p.Table), slices.Contains(types(), p.Type)
	if !table {
		fail("table", "must be one of %s, not %q", strings.Join(tables(), ", "), p.Table)
	}
	if !slices.Contains(orders(), p.Order) {
		fail("order", "must be one of %s, not %q", strings.Join(orders(), ", "), p.Order)
	}
	// Without a sum: the address may be the largest number that there is.
	if most := math.MaxUint16 - p.width() + 1; p.Address < first || p.Address-first > most {
		fail("address", "must be between %d and %d, not %d", first, first+most, p.Address)
	}
	if p.Min > p.Max || p.Min == p.Max && p.Min != 0 {
		fail("min", "must be less than max")
	}
	switch {
	case !known:
		fail("type", "must be one of %s, not %q", strings.Join(types(), ", "), p.Type)
	case table:
		p.validateType(fail)
	}
	p.validateWriting(fail, table && known)
	m.Add("", p.linear().Validate())
	return m.Err()
}

// validateType checks what goes with a table and a type that there are.
func (p Point) validateType(fail func(key, format string, args ...any)) {
	scaled := p.Scale != 0 || p.Offset != 0 || p.Decimals != nil || len(p.NoValue) > 0
	float := p.Type == "float32" || p.Type == "float64"
	switch {
	case p.bits() && p.Type != "bool":
		fail("type", "must be bool in the table %s, not %s", p.Table, p.Type)
	case !p.bits() && p.Type == "bool" && p.Bit == nil:
		fail("type", "is bool: say with bit which one of the register, or take table = \"coil\"")
	case p.Bit != nil && (p.bits() || p.Type != "bool"):
		fail("bit", "is for registers and the type bool")
	case p.Bit != nil && (*p.Bit < 0 || *p.Bit > 15):
		fail("bit", "must be between 0 and 15, not %d", *p.Bit)
	}
	switch {
	case p.Type == "bool" && scaled:
		fail("scale", "offset, decimals and no_value are not for a bool")
	case float && len(p.NoValue) > 0:
		fail("no_value", "is for whole numbers; a float has NaN for that")
	}
}

// validateWriting checks what commands need; known says that there is such a table and
// such a type.
func (p Point) validateWriting(fail func(key, format string, args ...any), known bool) {
	switch {
	case (p.Min != p.Max || p.NoRead || p.Safe != nil) && !p.Writable:
		fail("writable", "must be true for min, max, write_only and safe")
	case p.Writable && (p.Table == "discrete" || p.Table == "input"):
		fail("writable", "cannot be: the table %s can only be read; is coil or holding meant?", p.Table)
	case p.Writable && p.Bit != nil:
		fail("writable", "cannot be for one bit of a register: the others would be written with it")
	}
	if !known {
		return
	}
	var fits []int
	switch {
	case p.bits():
		fits = []int{writeSingleCoil, writeMultipleCoils}
	case p.width() == 1:
		fits = []int{writeSingleRegister, writeMultipleRegisters}
	default:
		fits = []int{writeMultipleRegisters}
	}
	if p.Safe != nil && p.Writable && p.Bit == nil {
		if _, err := p.settle(p.Safe); err != nil {
			fail("safe", "cannot be set: %v", err)
		}
	}
	if !slices.Contains(fits, p.Function) {
		fail("write_function", "must be %s, not %d", strings.Trim(strings.Join(strings.Fields(fmt.Sprint(fits)), " or "), "[]"), p.Function)
	}
}

// channel describes a normal point.
func (p Point) channel() drivers.Channel {
	c := drivers.Channel{
		Name: p.Name, Quantity: drivers.Quantity(p.Quantity), Unit: p.Unit, Type: drivers.Float,
		Writable: p.Writable, Cumulative: p.Cumulative,
	}
	switch {
	case p.Type == "bool":
		c.Type = drivers.Bool
	case p.whole() && p.linear().Whole():
		c.Type = drivers.Int
	}
	if p.Writable {
		c.Range = p.limits()
	}
	return c
}

// whole tells whether raw numbers are whole.
func (p Point) whole() bool { return p.Type != "float32" && p.Type != "float64" && p.Type != "bool" }

// limits are those of the configuration, or what the type can hold.
func (p Point) limits() drivers.Range {
	if p.Min != p.Max {
		return drivers.Range{Min: p.Min, Max: p.Max}
	}
	if !p.whole() || p.width() == 4 {
		return drivers.Range{} // float64 has no exact number for the ends of int64
	}
	lowest, highest := 0.0, math.Pow(2, float64(16*p.width()))-1
	if p.Type[0] == 'i' {
		highest = math.Pow(2, float64(16*p.width()-1)) - 1
		lowest = -highest - 1
	}
	a, b := p.linear().Float(lowest), p.linear().Float(highest)
	return drivers.Range{Min: min(a, b), Max: max(a, b)}
}

// arrange brings the bytes of registers from the order of the wire into A, B, C...,
// or back: each order is its own inverse.
func (p Point) arrange(b []byte) []byte {
	b = slices.Clone(b)
	if p.Order == "CDAB" || p.Order == "DCBA" { // the low word first
		for i, j := 0, len(b)-2; i < j; i, j = i+2, j-2 {
			b[i], b[i+1], b[j], b[j+1] = b[j], b[j+1], b[i], b[i+1]
		}
	}
	if p.Order == "BADC" || p.Order == "DCBA" { // the low byte of each word first
		for i := 0; i+1 < len(b); i += 2 {
			b[i], b[i+1] = b[i+1], b[i]
		}
	}
	return b
}

// decode gives the value of registers as they came; ok is false if they say that
// there is none.
func (p Point) decode(registers []byte) (value any, ok bool, err error) {
	b := p.arrange(registers)
	var bits uint64
	for _, x := range b {
		bits = bits<<8 | uint64(x)
	}
	var raw int64
	switch p.Type {
	case "bool":
		return bits>>*p.Bit&1 == 1, true, nil
	case "float32":
		// The shortest decimal number that is this float32: 21.3, not 21.299999237.
		f, err := strconv.ParseFloat(strconv.FormatFloat(float64(math.Float32frombits(uint32(bits))), 'g', -1, 32), 64)
		if err != nil {
			return nil, false, err
		}
		return p.float(f, 7)
	case "float64":
		return p.float(math.Float64frombits(bits), 15)
	case "int16":
		raw = int64(int16(bits))
	case "int32":
		raw = int64(int32(bits))
	default:
		raw = int64(bits)
	}
	if slices.Contains(p.NoValue, raw) || slices.Contains(p.NoValue, int64(bits)) {
		return nil, false, nil
	}
	if p.Type == "uint64" && bits > math.MaxInt64 {
		return p.linear().Float(float64(bits)), true, nil
	}
	return p.linear().Int(raw), true, nil
}

// float gives the value of a float that has so many digits.
func (p Point) float(f float64, digits int) (any, bool, error) {
	switch {
	case math.IsNaN(f): // the no_value of floats
		return nil, false, nil
	case math.IsInf(f, 0):
		return nil, false, fmt.Errorf("its registers hold %v; is the order %s right?", f, p.Order)
	case p.Decimals != nil:
		return p.linear().Float(f), true, nil
	case p.Scale == 0 && p.Offset == 0:
		return f, true, nil
	}
	// The places of scale say nothing about those of a float.
	scaled := p.linear().Unrounded(f)
	scaled, err := strconv.ParseFloat(strconv.FormatFloat(scaled, 'g', digits, 64), 64)
	return scaled, true, err
}

// step is the value next to one that the registers can hold.
func (p Point) step(value float64) float64 {
	if !p.whole() {
		return value
	}
	l := p.linear()
	l.Decimals = nil // what is read may be rounded to fewer than there are
	raw := math.Round(l.Raw(value))
	if next := l.Float(raw); math.Round(l.Raw(next)) == raw {
		return next
	}
	return value
}

// settle brings a value that somebody wants into the one that is written, or says why it
// cannot be.
func (p Point) settle(v any) (any, error) {
	if p.Type == "bool" {
		return drivers.ParseBool(v)
	}
	limits := p.limits()
	number, err := drivers.ParseNumber(v, limits)
	if err != nil {
		return v, err
	}
	// The result says what is written, also of a point that is not read back.
	written := p.step(number)
	if _, err := drivers.ParseNumber(written, limits); err != nil {
		return v, fmt.Errorf("the register cannot hold %v, and %w", number, err)
	}
	_, err = p.write(written, 0)
	return written, err
}

// write makes the request that sets a normal point. value is a bool, or a number
// within the limits.
func (p Point) write(value any, at uint16) (request, error) {
	r := request{function: byte(p.Function), at: at, count: p.width()}
	if on, ok := value.(bool); ok {
		switch {
		case p.Function == writeMultipleCoils && on:
			r.data = []byte{1}
		case p.Function == writeMultipleCoils:
			r.data = []byte{0}
		case on:
			r.data = []byte{0xFF, 0x00} // 6.5
		default:
			r.data = []byte{0x00, 0x00}
		}
		return r, nil
	}
	raw := p.linear().Raw(value.(float64))
	var bits uint64
	switch rounded := math.Round(raw); p.Type {
	case "float32":
		if f := float32(raw); math.IsInf(float64(f), 0) {
			return r, fmt.Errorf("%v is too large for a float32", value)
		}
		bits = uint64(math.Float32bits(float32(raw)))
	case "float64":
		if math.IsInf(raw, 0) { // by the scale
			return r, fmt.Errorf("%v is too large for a float64", value)
		}
		bits = math.Float64bits(raw)
	default:
		low, high := 0.0, math.Pow(2, float64(16*p.width()))
		if p.Type[0] == 'i' {
			low, high = -high/2, high/2
		}
		if rounded < low || rounded >= high {
			return r, fmt.Errorf("%v is %v in the registers, which is outside of %s", value, rounded, p.Type)
		}
		if p.Type == "uint64" {
			bits = uint64(rounded)
		} else {
			bits = uint64(int64(rounded))
		}
	}
	b := binary.BigEndian.AppendUint64(nil, bits)
	r.data = p.arrange(b[8-2*p.width():])
	return r, nil
}
