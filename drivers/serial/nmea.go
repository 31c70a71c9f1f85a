package serial

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"time"

	"edgegateway/drivers"
)

//go:embed nmea.toml
var nmeaExample string

// NMEAOptions are the keys of the kind nmea.
type NMEAOptions struct {
	PortOptions
	Silence time.Duration `toml:"silence"` // after so long without a good sentence it is offline; 0 = never
}

func nmeaDefaults() NMEAOptions {
	return NMEAOptions{PortOptions: DefaultPort(9600), Silence: 10 * time.Second}
}

// Validate checks what can be checked without a port.
func (o NMEAOptions) Validate() error {
	var m drivers.Mistakes
	m.Add("", o.PortOptions.Validate())
	m.Add("", validateSilence(o.Silence))
	return m.Err()
}

// Watches: the device tells by itself, of sentences.
func (NMEAOptions) Watches() bool { return true }

// NMEAKind returns the kind nmea: a receiver of GPS, GLONASS, Galileo or BeiDou.
func NMEAKind() drivers.Kind {
	return drivers.KindOf("nmea", "A satellite receiver (GPS and others) that sends NMEA 0183: position, speed, course, fix, time.",
		nmeaExample, nmeaDefaults, openNMEA)
}

// longestSentence is more than the 82 characters of the standard, which many
// receivers do not keep.
const longestSentence = 160

// longestMoment is how long sentences are taken for those of one moment: a receiver
// that has no time yet, and never pauses, tells no end of it.
const longestMoment = 2 * time.Second

type receiver struct {
	options NMEAOptions
	port    drivers.SerialPort
	split   splitter
	heard   bool // a good sentence has come; before it the stream was entered in the middle

	epoch  string // time of the sentences that are collected, as they write it; "" = not known
	first  time.Time
	values []drivers.Value // of the epoch

	told map[string]bool // channels that have had a value
}

var _ drivers.Watcher = (*receiver)(nil)

func openNMEA(_ context.Context, o NMEAOptions, p drivers.Ports) (drivers.Device, error) {
	port, err := o.open(p)
	if err != nil {
		return nil, err
	}
	return &receiver{options: o, port: port, split: splitter{most: longestSentence}, told: make(map[string]bool)}, nil
}

// Channels lists what receivers send. While there is no fix, valid is false and the
// position is left out: the last one is kept, as where the receiver was. Of what moves
// there is no last one: it is bad. So is a position before the first one.
func (d *receiver) Channels() []drivers.Channel {
	return []drivers.Channel{
		{Name: "valid", Quantity: drivers.State, Type: drivers.Bool},
		{Name: "latitude", Quantity: "latitude", Unit: "°", Type: drivers.Float},
		{Name: "longitude", Quantity: "longitude", Unit: "°", Type: drivers.Float},
		{Name: "altitude", Quantity: drivers.Distance, Unit: "m", Type: drivers.Float},
		{Name: "speed", Quantity: drivers.Speed, Unit: "m/s", Type: drivers.Float},
		{Name: "course", Unit: "°", Type: drivers.Float},
		{Name: "fix", Type: drivers.Text},         // none, 2d, 3d
		{Name: "fix_quality", Type: drivers.Text}, // none, gps, dgps, pps, rtk, float-rtk, estimated, manual, simulator
		{Name: "satellites", Type: drivers.Int},
		{Name: "hdop", Type: drivers.Float},
		{Name: "pdop", Type: drivers.Float},
		{Name: "time", Type: drivers.Text}, // of the satellites, UTC
	}
}

func (d *receiver) Close() error { return d.port.Close() }

// Watch emits one reading for the sentences of one moment. They have ended when one
// of another moment comes, or nothing for a while, or when it has lasted too long.
func (d *receiver) Watch(ctx context.Context, emit func(drivers.Reading)) error {
	err := listen(ctx, d.port, d.options.Silence, func(data []byte, now time.Time) (good bool) {
		if len(data) == 0 {
			d.tell(emit)
		}
		d.split.feed(data, func(line []byte, err error) {
			var s sentence
			if err == nil {
				s, err = parseSentence(line)
			}
			switch {
			case err == nil:
				good, d.heard = true, true
				d.collect(s, now, emit)
			case d.heard:
				emit(drivers.Reading{At: now, Fault: err})
			}
		})
		return good
	})
	if err == errSilent {
		return fmt.Errorf("%s: no good sentence came for %v; is the receiver on, is the baud rate right?", d.options.Path, d.options.Silence)
	}
	return err
}

// collect takes the values of a sentence.
func (d *receiver) collect(s sentence, now time.Time, emit func(drivers.Reading)) {
	another := s.epoch != "" && d.epoch != "" && s.epoch != d.epoch
	if another || len(d.values) > 0 && now.Sub(d.first) > longestMoment {
		d.tell(emit)
	}
	if s.epoch != "" {
		d.epoch = s.epoch
	}
	if len(s.values) > 0 && len(d.values) == 0 {
		d.first = now
	}
	for _, v := range s.values {
		at := slices.IndexFunc(d.values, func(old drivers.Value) bool { return old.Channel == v.Channel })
		switch {
		case at >= 0 && v.V == nil: // another sentence has it
		case at < 0:
			d.values = append(d.values, v)
		case v.Channel == "valid" && v.V == true && d.values[at].V == false:
			// One sentence of the moment has called the position invalid: so it is.
		default:
			d.values[at] = v
		}
	}
}

// tell emits what was collected.
func (d *receiver) tell(emit func(drivers.Reading)) {
	values := d.values
	d.values, d.epoch = nil, ""
	if len(values) == 0 {
		return
	}
	r := drivers.Reading{At: d.first}
	position, moving := []string{"latitude", "longitude", "altitude"}, []string{"speed", "course", "hdop", "pdop", "time"}
	invalid := slices.Contains(values, drivers.Value{Channel: "valid", V: false})
	for _, v := range values {
		where := slices.Contains(position, v.Channel)
		switch {
		case v.V != nil && !(invalid && (where || slices.Contains(moving, v.Channel))):
			d.told[v.Channel] = true
			r.Values = append(r.Values, v)
		case !(where && d.told[v.Channel]):
			r.Bad = append(r.Bad, v.Channel)
		}
	}
	for _, name := range moving { // also of a sentence that has not come
		if invalid && d.told[name] && !slices.Contains(r.Bad, name) {
			r.Bad = append(r.Bad, name)
		}
	}
	emit(r)
}
