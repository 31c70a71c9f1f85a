package serial

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"edgegateway/drivers"
)

//go:embed line.toml
var lineExample string

// LineOptions are the keys of the kind serial-line.
type LineOptions struct {
	PortOptions

	Format     string        `toml:"format"`         // json, kv, csv or regex
	LineEnding string        `toml:"line_ending"`    // "" = CR, LF or both
	MaxLine    int64         `toml:"max_line,bytes"` // longer lines are dropped and counted
	Separator  string        `toml:"separator"`      // csv: between columns
	Decimal    string        `toml:"decimal"`        // csv, kv, regex: "." as in 21.5, or "," as in 21,5
	Columns    []string      `toml:"columns"`        // csv: names in order, "" = not wanted
	Pattern    string        `toml:"pattern"`        // regex: with a named group (?P<name>...) for each value
	Fields     []Field       `toml:"fields"`         // names and units; empty = everything as it comes
	Silence    time.Duration `toml:"silence"`        // without a line for so long the device is offline; 0 = it may be silent
}

// A Field takes one value of a line, and says what it is.
type Field struct {
	From     string `toml:"from"`     // name in the line, "a.b" for b inside a in JSON
	Name     string `toml:"name"`     // of the channel; "" = as in the line
	Unit     string `toml:"unit"`     // "" = that of the quantity, as the device sends it
	Quantity string `toml:"quantity"` // e.g. "temperature"
}

func lineDefaults() LineOptions {
	return LineOptions{PortOptions: DefaultPort(115200), Format: "json", MaxLine: 1024, Separator: ",", Decimal: "."}
}

// Validate checks what can be checked without a port.
func (o LineOptions) Validate() error {
	var m drivers.Mistakes
	m.Add("", o.PortOptions.Validate())
	known := slices.Contains([]string{"json", "kv", "csv", "regex"}, o.Format)
	m.If(!known, "format must be json, kv, csv or regex, not %q", o.Format)
	m.If(len(o.LineEnding) > 8, "line_ending must not be longer than 8 bytes")
	m.If(o.MaxLine < 16 || o.MaxLine > 64<<10, "max_line must be between 16 B and 64 KiB, not %d B", o.MaxLine)
	m.If(o.Format == "csv" && len(o.Columns) == 0, "columns must name the columns of a csv line, like [\"temperature\", \"humidity\"]")
	m.If(known && o.Format != "csv" && len(o.Columns) > 0, "columns is for format = \"csv\"; format is %q", o.Format)
	m.If(o.Format == "csv" && o.Separator == "", "separator must not be empty")
	m.If(o.Decimal != "." && o.Decimal != ",", "decimal must be \".\" or \",\", not %q", o.Decimal)
	m.If(o.Decimal == "," && o.Format == "json", "decimal is for csv, kv and regex; the numbers of JSON have a point")
	m.If(o.Decimal == "," && o.Format == "csv" && strings.Contains(o.Separator, ","), "separator must not hold the comma that decimal = \",\" says is that of the numbers")
	m.If(known && o.Format != "regex" && o.Pattern != "", "pattern is for format = \"regex\"; format is %q", o.Format)
	m.Add("", validateSilence(o.Silence))
	m.Add("", o.validateNames())
	return m.Err()
}

// validateNames checks what the line and its fields call the values.
func (o LineOptions) validateNames() error {
	var m drivers.Mistakes
	there := make(map[string]bool)
	for _, c := range o.Columns {
		m.If(c != "" && there[c], "columns holds %q twice", c)
		there[c] = true
	}
	which := "columns"
	if o.Format == "regex" {
		groups, err := groupsOf(o.Pattern)
		m.Add("", err)
		for _, g := range groups {
			there[g] = true
		}
		which = "named groups of the pattern"
	}
	names := make(map[string]bool)
	for i, f := range o.Fields {
		// Without any, that is the mistake, and no field can be right.
		missing := (o.Format == "csv" || o.Format == "regex") && len(there) > 0 && !there[f.From]
		m.If(f.From == "", "fields[%d].from must name a value of the line", i)
		m.If(f.From != "" && missing, "fields[%d].from is %q, which is none of the %s", i, f.From, which)
		m.If(f.From != "" && names[f.channel()], "fields[%d] gives the name %q twice", i, f.channel())
		names[f.channel()] = true
	}
	return m.Err()
}

func (f Field) channel() string {
	if f.Name != "" {
		return f.Name
	}
	return channelName(f.From)
}

// numeric tells whether the values are numbers: of what has a unit, or is measured.
func (f Field) numeric() bool { return f.Unit != "" || drivers.Quantity(f.Quantity).Numeric() }

// Watches: the device tells by itself, of lines.
func (LineOptions) Watches() bool { return true }

// LineKind returns the kind serial-line: a device that sends a line of text for
// each of its measurements.
func LineKind() drivers.Kind {
	return drivers.KindOf("serial-line", "A device that sends lines over a serial port: JSON, key=value, CSV or a regular expression.",
		lineExample, lineDefaults, openLine)
}

type lineDevice struct {
	options LineOptions
	port    drivers.SerialPort
	split   splitter
	decode  decoder
	named   bool            // the configuration names what a line has
	told    map[string]bool // otherwise: what lines have named so far
	waiting time.Time       // since when for what comes next
	heard   time.Time       // when the last byte came
	cut     bool            // the line under way may have begun before the port was open
	paused  bool            // the line under way may be the beginnings of two
}

var _ drivers.Watcher = (*lineDevice)(nil)

func openLine(_ context.Context, o LineOptions, p drivers.Ports) (drivers.Device, error) {
	port, err := o.open(p)
	if err != nil {
		return nil, err
	}
	return &lineDevice{
		options: o, port: port, cut: true,
		split:  splitter{ending: []byte(o.LineEnding), most: int(o.MaxLine)},
		decode: newDecoder(o), named: len(o.Fields) > 0 || o.Format == "csv" || o.Format == "regex",
		told: make(map[string]bool),
	}, nil
}

// Channels lists what the configuration names; a device whose lines name their
// values tells more with its first line.
func (d *lineDevice) Channels() (channels []drivers.Channel) {
	for _, f := range d.options.Fields {
		c := drivers.Channel{Name: f.channel(), Unit: f.Unit, Quantity: drivers.Quantity(f.Quantity)}
		if f.numeric() {
			c.Type = drivers.Float // whole ones, too, as they come
		}
		channels = append(channels, c)
	}
	if len(channels) == 0 {
		names := d.options.Columns
		if d.options.Format == "regex" {
			names, _ = groupsOf(d.options.Pattern) // it was valid
		}
		for _, c := range names {
			if c != "" {
				channels = append(channels, drivers.Channel{Name: channelName(c)})
			}
		}
	}
	return channels
}

func (d *lineDevice) Close() error { return d.port.Close() }

// longestPause is how long a device may think in the middle of a line. One that was
// switched off there begins another line when it is back: "2" and "21.5" are not 221.5.
const longestPause = 5 * time.Second

// mostTold bounds what is kept of lines that name something else each time.
const mostTold = 256

// Watch emits a reading for each line. What cannot be decoded is a fault of the
// reading: noise on a wire is no reason to give up a device.
func (d *lineDevice) Watch(ctx context.Context, emit func(drivers.Reading)) error {
	d.waiting = time.Now()
	err := listen(ctx, d.port, d.options.Silence, func(data []byte, now time.Time) (good bool) {
		// What follows a read that waited in vain is the beginning of a line. When the
		// first byte was seen would not tell: it may have lain there for long.
		switch {
		case len(data) > 0:
			d.heard = now
		case d.split.empty() && now.Sub(d.waiting) > drivers.SerialPatience/2:
			d.cut = false
		case !d.split.empty() && !d.split.long && now.Sub(d.heard) > longestPause:
			d.paused = true
		}
		d.waiting = now
		d.split.feed(data, func(line []byte, err error) {
			if r, ok := d.reading(line, err, now); ok {
				good = good || r.Fault == nil
				emit(r)
			}
		})
		return good
	})
	if err == errSilent {
		return fmt.Errorf("%s: no line that can be read came for %v; is the device on, is the baud rate right?", d.options.Path, d.options.Silence)
	}
	return err
}

// reading makes a reading of a line. The first line may have been cut at its
// beginning by the opening of the port. JSON shows that, and is then passed over
// without a word; in the other formats 21.5 could have become 1.5, and the line is
// not used at all.
func (d *lineDevice) reading(line []byte, err error, at time.Time) (drivers.Reading, bool) {
	// What line_ending leaves when it is half of what the device sends.
	if line = bytes.Trim(line, "\r\n"); err == nil && len(line) == 0 {
		return drivers.Reading{}, false
	}
	cut, paused := d.cut, d.paused
	d.cut, d.paused = false, false
	if cut && (err != nil || d.options.Format != "json") {
		return drivers.Reading{}, false
	}
	if paused && err == nil {
		err = fmt.Errorf("a line paused for more than %v in the middle, and may be two: %s", longestPause, excerpt(line))
	}
	var values []drivers.Value
	if err == nil {
		values, err = d.decode(line)
	}
	if cut && err != nil {
		return drivers.Reading{}, false
	}
	r := drivers.Reading{At: at, Fault: err}
	for _, v := range values {
		switch {
		case v.V != nil:
			r.Values = append(r.Values, v)
			if !d.named && len(d.told) < mostTold {
				d.told[v.Channel] = true
			}
		case d.named || d.told[v.Channel]:
			r.Bad = append(r.Bad, v.Channel)
		}
	}
	return r, true
}
