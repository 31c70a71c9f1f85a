package serial

import (
	"context"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"edgegateway/drivers"
)

// Ready configurations; all three are tested with frames that such devices sent.
var (
	//go:embed sds011.toml
	sds011 string
	//go:embed pms5003.toml
	pms5003 string
	//go:embed mhz19.toml
	mhz19 string
)

// Hex is bytes, written like "AA C0".
type Hex []byte

// UnmarshalText reads pairs of hexadecimal digits, with or without blanks.
func (h *Hex) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		return fmt.Errorf("bytes must be written like \"AA C0\", not %q", text)
	}
	*h = b
	return nil
}

// FrameOptions are the keys of the kind serial-frame. Places in a frame are counted
// from 0, the first byte of its header.
type FrameOptions struct {
	PortOptions

	Header      Hex          `toml:"header"`       // what every frame begins with
	Length      int          `toml:"length"`       // of a frame in bytes, all included
	LengthField LengthField  `toml:"length_field"` // instead of length: where the frame tells it
	Trailer     Hex          `toml:"trailer"`      // what every frame ends with
	Checksum    Checksum     `toml:"checksum"`
	Fields      []FrameField `toml:"fields"`

	Request Hex           `toml:"request"` // is sent for each reading; "" = the device sends by itself
	Timeout time.Duration `toml:"timeout"` // with request: for the answer, in steps of 0.3 s
	Silence time.Duration `toml:"silence"` // without request: after so long without a frame it is offline; 0 = never
}

// A LengthField is where a frame tells its own length.
type LengthField struct {
	At    int    `toml:"at"`
	Size  int    `toml:"size"`  // bytes: 1 or 2; 0 = frames tell no length
	Order string `toml:"order"` // big, little
	Plus  int    `toml:"plus"`  // what the field does not count
}

func frameDefaults() FrameOptions {
	return FrameOptions{
		PortOptions: DefaultPort(9600), LengthField: LengthField{Order: "big"},
		Checksum: Checksum{Type: "none", Order: "big"}, Timeout: time.Second, Silence: time.Minute,
	}
}

// shortest is the length of the shortest frame that holds all that is named.
func (o FrameOptions) shortest() int {
	n := len(o.Header) + len(o.Trailer) + o.Checksum.width()
	n = max(n, o.LengthField.At+o.LengthField.Size)
	if o.Checksum.At > 0 {
		n = max(n, o.Checksum.At+o.Checksum.width())
	}
	n = max(n, o.Checksum.From+1, o.Checksum.To)
	for _, f := range o.Fields {
		n = max(n, f.At+f.width())
	}
	return n
}

// Validate checks what can be checked without a port.
func (o FrameOptions) Validate() error {
	var m drivers.Mistakes
	m.Add("", o.PortOptions.Validate())
	checksum := o.Checksum.validate()
	m.Add("", checksum)
	m.If(len(o.Fields) == 0, "fields must name at least one value")
	seen := make(map[string]bool)
	for i, f := range o.Fields {
		m.Add(fmt.Sprintf("fields[%d].", i), f.validate())
		m.If(f.Name != "" && seen[f.Name], "fields[%d].name is %q twice", i, f.Name)
		seen[f.Name] = true
	}
	m.If(len(o.Header) == 0, "header must hold the bytes that every frame begins with, like \"AA C0\"")
	m.If(len(o.Header) > 16 || len(o.Trailer) > 16 || len(o.Request) > 256, "header and trailer must have at most 16 bytes, request at most 256")
	m.Add("", o.validateLength(checksum == nil))
	m.If(o.Timeout < 100*time.Millisecond || o.Timeout > 4*time.Second, "timeout must be between 100ms and 4s, not %v", o.Timeout)
	m.Add("", validateSilence(o.Silence))
	return m.Err()
}

// validateLength checks whether what is named fits; summed says that the checksum itself
// is right.
func (o FrameOptions) validateLength(summed bool) error {
	var m drivers.Mistakes
	l := o.LengthField
	m.If((o.Length == 0) == (l.Size == 0), "length of a frame, or length_field with its size, must be given, and not both")
	m.If(l.Size < 0 || l.Size > 2, "length_field.size must be 1 or 2, not %d", l.Size)
	m.If(l.At < 0 || l.At > longestFrame, "length_field.at must be between 0 and %d", longestFrame)
	m.If(l.Plus < -longestFrame || l.Plus > longestFrame, "length_field.plus must be between -%d and %d, not %d", longestFrame, longestFrame, l.Plus)
	m.If(l.Order != "big" && l.Order != "little", "length_field.order must be big or little, not %q", l.Order)
	if len(m) > 0 {
		return m.Err()
	}
	switch c := o.Checksum; {
	case o.shortest() > longestFrame:
		m.If(true, "fields and checksum must stand in the first %d bytes", longestFrame)
	case o.Length != 0 && (o.Length < o.shortest() || o.Length > longestFrame):
		m.If(true, "length must be between %d, where the last of what is named ends, and %d, not %d", o.shortest(), longestFrame, o.Length)
	case summed && c.Type != "none" && o.Length > 0 && c.To == 0 && c.From >= c.at(o.Length, len(o.Trailer)):
		m.If(true, "checksum.from must be less than %d, where the checksum stands, not %d", c.at(o.Length, len(o.Trailer)), c.From)
	}
	return m.Err()
}

// Watches tells whether the device sends by itself; one with a request is asked.
func (o FrameOptions) Watches() bool { return len(o.Request) == 0 }

// FrameKind returns the kind serial-frame: a device that sends frames of bytes, by
// itself or when it is asked.
func FrameKind() drivers.Kind {
	example := sds011 + "\n# Two more, ready for use:\n#\n" + commented(pms5003) + "#\n" + commented(mhz19)
	return drivers.KindOf("serial-frame", "A device that sends binary frames over a serial port, by itself or when asked: SDS011, PMS5003, MH-Z19 and others.",
		example, frameDefaults, openFrame)
}

func commented(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(strings.TrimRight("# "+line, " \n") + "\n")
	}
	return out.String()
}

// frames is what both sorts of device have in common.
type frames struct {
	options FrameOptions
	port    drivers.SerialPort
	framer  *framer
}

func openFrame(_ context.Context, o FrameOptions, p drivers.Ports) (drivers.Device, error) {
	port, err := o.open(p)
	if err != nil {
		return nil, err
	}
	d := frames{options: o, port: port, framer: newFramer(o)}
	if len(o.Request) > 0 {
		return &polledFrames{d}, nil
	}
	return &streamedFrames{d}, nil
}

func (d *frames) Channels() (channels []drivers.Channel) {
	for _, f := range d.options.Fields {
		channels = append(channels, f.channel())
	}
	return channels
}

func (d *frames) Close() error { return d.port.Close() }

func (d *frames) reading(frame []byte, at time.Time) drivers.Reading {
	r := drivers.Reading{At: at}
	for _, f := range d.options.Fields {
		if v := f.decode(frame); v != nil {
			r.Values = append(r.Values, drivers.Value{Channel: f.Name, V: v})
		} else {
			r.Bad = append(r.Bad, f.Name)
		}
	}
	return r
}

// streamedFrames is a device that sends by itself.
type streamedFrames struct{ frames }

var _ drivers.Watcher = (*streamedFrames)(nil)

// Watch emits a reading for each frame.
func (d *streamedFrames) Watch(ctx context.Context, emit func(drivers.Reading)) error {
	err := listen(ctx, d.port, d.options.Silence, func(data []byte, now time.Time) (good bool) {
		each := func(frame []byte, err error) {
			if err != nil {
				emit(drivers.Reading{At: now, Fault: err})
				return
			}
			good = true
			emit(d.reading(frame, now))
		}
		if len(data) > 0 {
			d.framer.feed(data, each)
		} else {
			d.framer.silent(each)
		}
		return good
	})
	if err == errSilent {
		return fmt.Errorf("%s: no good frame came for %v; is the device on, are baud rate, header and checksum right?", d.options.Path, d.options.Silence)
	}
	return err
}

// polledFrames is a device that is asked.
type polledFrames struct{ frames }

var _ drivers.Sampler = (*polledFrames)(nil)

// Sample sends the request and waits for the next frame.
func (d *polledFrames) Sample(ctx context.Context) (drivers.Reading, error) {
	if p, ok := d.port.(interface{ DiscardInput() error }); ok {
		if err := p.DiscardInput(); err != nil { // a late answer
			return drivers.Reading{}, err
		}
	}
	d.framer = newFramer(d.options)
	d.framer.bad = false // here a bad answer is worth a word
	if _, err := d.port.Write(d.options.Request); err != nil {
		return drivers.Reading{}, err
	}
	until := time.Now().Add(d.options.Timeout)
	buf := make([]byte, 512)
	var reading drivers.Reading
	var fault error
	for ctx.Err() == nil {
		n, err := d.port.Read(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return drivers.Reading{}, err
		}
		each := func(frame []byte, err error) {
			switch {
			case err != nil:
				fault = err
			case reading.At.IsZero():
				reading = d.reading(frame, time.Now())
			}
		}
		d.framer.feed(buf[:n], each)
		over := !time.Now().Before(until)
		if over {
			d.framer.silent(each)
		}
		switch {
		case !reading.At.IsZero():
			return reading, nil
		case !over:
		case fault != nil:
			return drivers.Reading{}, fmt.Errorf("%s: %w", d.options.Path, fault)
		default:
			return drivers.Reading{}, &drivers.NoAnswerError{What: "the device on " + d.options.Path, Err: os.ErrDeadlineExceeded}
		}
	}
	return drivers.Reading{}, ctx.Err()
}
