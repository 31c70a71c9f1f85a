package drivers

import (
	"context"
	"slices"
	"time"
)

// A Device is an opened piece of hardware, or of this machine. Its methods, except
// Channels and Actuator.Check, are called by one goroutine at a time.
type Device interface {
	// Channels lists what the device measures or can set. It touches no hardware,
	// gives the same answer as long as the device is open and may be called from any
	// goroutine. A device whose channels are named by what it receives may list
	// fewer than its readings hold.
	Channels() []Channel

	// Close brings the hardware into its safe state and lets go of it. It is called
	// once, also after a failed or panicked call, and must return within a second.
	Close() error
}

// A Sampler can be asked for its values.
type Sampler interface {
	Device

	// Sample measures once. It should return when ctx ends; one that cannot is
	// marked as stuck and not called again before it has returned. An error that
	// wraps ErrGone ends the use of this opened device at once, any other one after
	// it happened a few times in a row.
	Sample(ctx context.Context) (Reading, error)
}

// A Watcher tells by itself when something has changed. A device that is also a
// Sampler is watched and not sampled.
type Watcher interface {
	Device

	// Watch calls emit for each change, from its own goroutine, until ctx ends or
	// the device fails. It begins with the present state where that can be known.
	// It must return within half a second after ctx ended; the error is then not
	// looked at. It is called again on the same device, for an Actuator after each
	// command, and must not repeat a state that it has told already.
	//
	// emit does not keep the Values it is given. A Watcher that emits without end is
	// slowed down: some hundreds of readings per second pass at most, the newest
	// value of each channel is never lost.
	Watch(ctx context.Context, emit func(Reading)) error
}

// An Actuator takes commands.
type Actuator interface {
	Device

	// Check validates a command and brings it into its normal form, without touching
	// hardware. Its error is a sentence for the sender. It is safe for concurrent
	// use with all other methods; a command that has passed it passes again,
	// unchanged.
	Check(Command) (Command, error)

	// Actuate carries out a command that has passed Check, and returns the state of
	// the device after it. An empty Reading means that the device cannot tell.
	Actuate(ctx context.Context, c Command) (Reading, error)
}

// A Resumer goes on from where it was: a meter that must not begin again at zero.
type Resumer interface {
	Device

	// Resume is called once, after Open and before any other call but Channels, with
	// what the device said last on the channels that its Kind resumes, in this run of
	// the gateway or in an earlier one; nothing if that is not known. A number of an
	// earlier run comes as int64 if it is whole, whatever it was.
	Resume(last []Value)
}

// A Failsafe has a state in which it does no harm, the one that Close leaves it in.
type Failsafe interface {
	Device

	// Safe brings the device into that state, and returns it. The device stays in use.
	Safe(ctx context.Context) (Reading, error)
}

// A Channel describes one value of a device.
type Channel struct {
	Name       string   // unique in its device, [a-z0-9_]+ by convention: "temperature", "load_1m"
	Quantity   Quantity // what is measured; "" = a plain number or text
	Unit       string   // as people write it: "°C", "%", "hPa", "B"; "" = none
	Type       Type     // of the values; "" = not known before the first reading
	Writable   bool     // commands may name it
	Cumulative bool     // only grows, except when it starts again from zero: counters, energy
	Range      Range    // limits for commands; the zero value means none
}

// Quantity names what a channel measures. The list is open: a kind may use a name
// that is not among the constants.
type Quantity string

// Quantities in use, each with the unit that drivers give unless told otherwise.
const (
	Temperature   Quantity = "temperature"     // °C
	Humidity      Quantity = "humidity"        // %, relative
	Pressure      Quantity = "pressure"        // hPa
	Moisture      Quantity = "moisture"        // %, of soil
	Illuminance   Quantity = "illuminance"     // lx
	CO2           Quantity = "carbon_dioxide"  // ppm
	Particles     Quantity = "particles"       // µg/m³
	Voltage       Quantity = "voltage"         // V
	Current       Quantity = "current"         // A
	Power         Quantity = "power"           // W
	Energy        Quantity = "energy"          // kWh
	Frequency     Quantity = "frequency"       // Hz
	Distance      Quantity = "distance"        // m
	Speed         Quantity = "speed"           // m/s
	Volume        Quantity = "volume"          // L
	Water         Quantity = "water"           // L, consumed
	Gas           Quantity = "gas"             // m³, consumed
	Flow          Quantity = "flow"            // L/min
	Rain          Quantity = "rain"            // mm
	RainRate      Quantity = "rain_rate"       // mm/h
	WindSpeed     Quantity = "wind_speed"      // m/s
	Weight        Quantity = "weight"          // kg
	DurationQ     Quantity = "duration"        // s
	DataSize      Quantity = "data_size"       // B
	Ratio         Quantity = "ratio"           // %, of a whole: memory, disk, battery
	State         Quantity = "state"           // on or off, open or closed
	Count         Quantity = "count"           // events since some start
	Signal        Quantity = "signal_strength" // dBm
	LoadAverage   Quantity = "load"            // processes that run or wait, as the kernel averages them
	UnknownNumber Quantity = ""
)

// Quantities lists the constants above that name something.
func Quantities() []Quantity {
	return []Quantity{
		Temperature, Humidity, Moisture, Pressure, Illuminance, CO2, Particles, Voltage, Current, Power, Energy, Frequency,
		Distance, Speed, Volume, Water, Gas, Flow, Rain, RainRate, WindSpeed, Weight, DurationQ, DataSize, Ratio,
		State, Count, Signal, LoadAverage,
	}
}

// Numeric tells whether values of the quantity are numbers: those of all constants that
// name something, but for State. Of other names nobody knows.
func (q Quantity) Numeric() bool { return q != State && slices.Contains(Quantities(), q) }

// Type is the type of a channel's values.
type Type string

// The types of values. In a Value they are float64, int64, bool and string.
const (
	Float Type = "float"
	Int   Type = "int"
	Bool  Type = "bool"
	Text  Type = "text"
)

// A Range holds the lowest and the highest number that a channel accepts, both
// included. Equal limits mean that there are none.
type Range struct{ Min, Max float64 }

// Limited tells whether the range limits anything.
func (r Range) Limited() bool { return r.Min != r.Max }

// A Reading is what a device said at one moment.
type Reading struct {
	// At is when the values were true at the sensor. A zero time is replaced by the
	// time when the reading was received.
	At time.Time

	Values []Value

	// Bad names channels that were asked and gave no value that can be used. Values
	// that nobody can use, such as NaN, are put here by Run.
	Bad []string

	// Missed says that the device was asked, gave nothing and stays in use: what it said
	// before is old. There is nothing else in such a reading. Run sets it, drivers do not.
	Missed bool

	// Fault is a trouble that does not end the use of the device: a line that cannot
	// be decoded, one of several channels that cannot be read. Run counts and logs
	// it and takes it off: Events never see it.
	Fault error

	// Note is what the device did by itself, as it is configured to: a sentence for the
	// log. It is no trouble. Run logs it each time and takes it off.
	Note string
}

// A Value is one value of a channel.
type Value struct {
	Channel string
	V       any // float64 (never NaN or infinite), int64, bool or string (valid UTF-8)
}

// A Command asks a device to change something.
type Command struct {
	// Channel is the channel to set. "" addresses the device as a whole; Resolve
	// finds the channel that is meant.
	Channel string

	// Value is decoded JSON (nil, bool, float64, string, []any, map[string]any), or
	// the text of a payload that is not JSON.
	Value any
}
