package field

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"edgegateway/drivers"
)

// ChannelConfig is one [devices.channels.<name>] table: what happens to the values of
// a channel on their way into the state.
//
// In this order: points, scale and offset; valid; aggregate; round; deadband. Text and
// on/off pass unchanged; but text where Unit, or a Quantity that is measured, says that
// there are numbers is null, of the quality "bad". What commands set can not be calibrated.
type ChannelConfig struct {
	// Title is what people see of the channel in Home Assistant. Default: made of its name.
	Title string `toml:"title"`

	// Unit takes the place of the unit that the driver gives. It converts nothing: what
	// comes in °C and shall be °F needs scale = 1.8 and offset = 32, too.
	Unit string `toml:"unit"`

	// Quantity takes the place of the one that the driver gives: temperature, water,
	// rain, ... Home Assistant makes its device class of it.
	Quantity string `toml:"quantity"`

	// Points calibrate by a table [[measured, true], ...] with rising measured values;
	// between two of them, and beyond the ends, goes a straight line.
	Points [][]float64 `toml:"points"`

	// Scale and Offset make value * scale + offset, after Points.
	Scale  float64 `toml:"scale"`
	Offset float64 `toml:"offset"`

	// Valid is [lowest, highest]: a value outside is null in the state, of the quality
	// "bad". With Aggregate it is left out, and null is a window with no other value.
	Valid []float64 `toml:"valid"`

	// Aggregate makes one value of those of a window: mean, min, max, last or count.
	Aggregate string `toml:"aggregate"`

	// Window is the length of it; it begins with the first value. A count is 0 when the
	// window behind one has no value.
	Window time.Duration `toml:"window"`

	// Round is the number of decimals, 0 to 15; -1 leaves them all.
	Round int `toml:"round"`

	// Deadband is what a value has to differ by from the one that was published for the
	// state to be published: "0.5" in the channel's unit, or "2%" of that value. Where
	// a device has one, its other channels count as soon as they change.
	Deadband Deadband `toml:"deadband"`
}

// SetDefaults fills in what a configuration file may leave out.
func (c *ChannelConfig) SetDefaults() { c.Scale, c.Round = 1, -1 }

const shortestWindow = 100 * time.Millisecond

// Validate says what is wrong, in sentences that begin with the key.
func (c ChannelConfig) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Scale == 0 || !finite(c.Scale) {
		fail("scale must be a number other than 0")
	}
	if !finite(c.Offset) {
		fail("offset must be a number")
	}
	if len(c.Points) == 1 {
		fail("points must be at least two, such as [[0.2, 0.0], [99.1, 100.0]]")
	}
	for i, p := range c.Points {
		if len(p) != 2 || !finite(p[0]) || !finite(p[1]) {
			fail("points[%d] must be [measured, true]", i)
			break
		}
		if i > 0 && p[0] <= c.Points[i-1][0] {
			fail("points[%d] must have a higher measured value than the one before", i)
			break
		}
	}
	if v := c.Valid; v != nil && (len(v) != 2 || !(v[0] < v[1])) {
		fail("valid must be [lowest, highest]")
	}
	switch c.Aggregate {
	case "":
		if c.Window != 0 {
			fail("window needs aggregate: mean, min, max, last or count")
		}
	case "mean", "min", "max", "last", "count":
		if c.Window < shortestWindow {
			fail("window must be at least %v with aggregate, not %v", shortestWindow, c.Window)
		}
	default:
		fail("aggregate must be mean, min, max, last or count, not %q", c.Aggregate)
	}
	if c.Round < -1 || c.Round > 15 {
		fail("round must be from 0 to 15, or -1 for all decimals, not %d", c.Round)
	}
	return errors.Join(errs...)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// A Deadband is a difference that does not count: absolute, or relative to what was
// published.
type Deadband struct {
	width   float64
	percent bool
	set     bool
}

// UnmarshalText reads "0.5" or "2%".
func (b *Deadband) UnmarshalText(text []byte) error {
	number, percent := strings.CutSuffix(strings.TrimSpace(string(text)), "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !finite(x) || x < 0 {
		return fmt.Errorf(`wants a number such as "0.5", or a part such as "2%%", not %q`, text)
	}
	*b = Deadband{width: x, percent: percent, set: true}
	return nil
}

// String is what UnmarshalText reads.
func (b Deadband) String() string {
	if !b.set {
		return ""
	}
	s := strconv.FormatFloat(b.width, 'g', -1, 64)
	if b.percent {
		s += "%"
	}
	return s
}

// passes tells whether a value differs enough from what was published.
func (b Deadband) passes(published, v any) bool {
	was, ok1 := number(published)
	is, ok2 := number(v)
	if !ok1 || !ok2 || b.width == 0 {
		return published != v
	}
	width := b.width
	if b.percent {
		width *= math.Abs(was) / 100
	}
	// At the edge of the band rounding would decide: 21.3 - 21.2 is a little less than 0.1.
	return math.Abs(is-was) >= width*(1-1e-9) && is != was
}

func number(v any) (float64, bool) {
	switch x := v.(type) {
	case float64:
		return x, true
	case int64:
		return float64(x), true
	}
	return 0, false
}

// convert calibrates a number. An int64 stays one where nothing is calibrated.
func (c *ChannelConfig) convert(v any) any {
	x, ok := number(v)
	if !ok || !c.calibrates() {
		return v
	}
	if n := len(c.Points); n > 1 {
		i := 1
		for i < n-1 && x > c.Points[i][0] {
			i++
		}
		a, b := c.Points[i-1], c.Points[i]
		x = a[1] + (x-a[0])*(b[1]-a[1])/(b[0]-a[0])
	}
	return x*c.Scale + c.Offset
}

func (c *ChannelConfig) calibrates() bool {
	return len(c.Points) > 1 || c.Scale != 1 || c.Offset != 0
}

// checkSettable refuses to calibrate what commands set: what they set it to is handed to
// the device as it comes, and would be told as another value.
func checkSettable(c DeviceConfig, kind drivers.Kind) error {
	names, err := kind.Settable(c.options())
	if err != nil {
		return nil // said by the kind's Check
	}
	var errs []error
	for _, name := range names {
		if ch, ok := c.Channels[name]; ok && ch.calibrates() {
			errs = append(errs, c.fault("channels."+name, "channels.%s is set by commands, which points, scale and offset do not convert: it would be set to one value and told as another; leave them out, and use the scale of the device's own options, where it has one", name))
		}
	}
	return errors.Join(errs...)
}

// relabels tells whether the unit takes the place of another one without the values being
// converted. What is counted over a window has a unit of its own.
func (c *ChannelConfig) relabels(unit string) bool {
	return c.Unit != "" && unit != "" && plainUnit(c.Unit) != plainUnit(unit) && !c.calibrates() && c.Aggregate != "count"
}

// plainUnit makes one of the ways to write a unit: "°C" and "C", "µg/m³" and "ug/m3".
func plainUnit(unit string) string {
	return strings.NewReplacer("°", "", " ", "", "µ", "u", "μ", "u", "²", "2", "³", "3", "l", "L", "mbar", "hPa").Replace(unit)
}

// changes tells whether a value may reach the state as another one, or not at all.
func (c *ChannelConfig) changes() bool {
	return c.calibrates() || c.Valid != nil || c.Aggregate != "" || c.Round >= 0
}

// usable tells whether a value is one that the channel can have.
func (c *ChannelConfig) usable(v any) bool {
	x, ok := number(v)
	if _, text := v.(string); text && c.numeric() {
		return false
	} else if !ok {
		return true
	}
	return finite(x) && (c.Valid == nil || x >= c.Valid[0] && x <= c.Valid[1])
}

// numeric tells whether the values are numbers: of what has a unit, or is measured.
func (c *ChannelConfig) numeric() bool {
	if c.Aggregate == "count" {
		return false // the unit is that of the count
	}
	return c.Unit != "" || drivers.Quantity(c.Quantity).Numeric()
}

func (c *ChannelConfig) rounded(v any) any {
	x, ok := v.(float64)
	if !ok || c.Round < 0 {
		return v
	}
	// By the decimal form, which is what people see: 2.675 becomes 2.67 or 2.68 as its
	// digits say, and large numbers do not overflow.
	x, err := strconv.ParseFloat(strconv.FormatFloat(x, 'f', c.Round, 64), 64)
	if err != nil {
		return v
	}
	return x + 0 // no -0
}

// describe is the channel as its readers see it.
func (c *ChannelConfig) describe(ch drivers.Channel) drivers.Channel {
	if c.Unit != "" {
		ch.Unit = c.Unit
	}
	if c.Quantity != "" {
		ch.Quantity = drivers.Quantity(c.Quantity)
	}
	if ch.Type == drivers.Int && c.calibrates() || ch.Type == drivers.Int && c.Aggregate == "mean" {
		ch.Type = drivers.Float
	}
	if c.Aggregate == "count" {
		ch = drivers.Channel{Name: ch.Name, Quantity: drivers.Count, Unit: c.Unit, Type: drivers.Int}
	}
	return ch
}

// A window collects values for one.
type window struct {
	ends time.Time // zero: there is none
	n    int64     // values that can be used
	bad  bool      // there was one that can not
	sum  float64
	low  any // the numbers as they came: a large int64 is none of the float64
	high any
	last any
}

// over tells whether there is a window and it has ended.
func (w *window) over(now time.Time) bool { return !w.ends.IsZero() && !now.Before(w.ends) }

// add takes a value; nil, which cannot be used, begins a window and is no part of it.
func (w *window) add(v any, now time.Time, length time.Duration) {
	if w.ends.IsZero() {
		w.ends = now.Add(length)
	}
	if v == nil {
		w.bad = true
		return
	}
	w.n++
	w.last = v
	x, ok := number(v)
	if !ok {
		return
	}
	w.sum += x
	if w.low == nil || less(v, w.low) {
		w.low = v
	}
	if w.high == nil || less(w.high, v) {
		w.high = v
	}
}

// less compares two numbers.
func less(a, b any) bool {
	i, whole1 := a.(int64)
	j, whole2 := b.(int64)
	if whole1 && whole2 {
		return i < j
	}
	x, _ := number(a)
	y, _ := number(b)
	return x < y
}

// take empties the window; nil if it held no value. Of what is no number, the last one
// stands for all.
func (w *window) take(how string) any {
	done := *w
	*w = window{}
	_, isNumber := number(done.last)
	switch {
	case how == "count" && (done.n > 0 || !done.bad):
		return done.n
	case done.n == 0:
		return nil
	case how == "last" || !isNumber:
		return done.last
	case how == "mean":
		return exact(done.sum / float64(done.n))
	case how == "max":
		return done.high
	}
	return done.low
}

// exact leaves out of a mean what adding up alone has brought in: 4.62, not
// 4.619999999999999. No sensor has so many digits.
func exact(f float64) float64 {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 13, 64), 64)
	if err != nil {
		return f
	}
	return rounded
}
