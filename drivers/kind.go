package drivers

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"periph.io/x/conn/v3/gpio"
)

// A Kind is a driver as the configuration sees it. KindOf makes one.
type Kind struct {
	Name    string // as in `kind = "..."`
	Summary string // one sentence, for a list of all kinds
	Example string // a complete [[devices]] block of TOML that opens

	// Timeout limits one Sample and one Actuate of devices that may have to wait for
	// their turn; 0 = 5 s.
	Timeout time.Duration

	// Check decodes and validates a device's options without touching hardware, so
	// that a wrong configuration is found before anything starts.
	Check func(decode func(dst any) error) error

	// Uses decodes the options and lists what of the machine the device takes. Two
	// devices that take the same thing are a mistake, unless both share it. Beside an
	// error it returns what the options say that are right.
	Uses func(decode func(dst any) error) ([]Use, error)

	// Resumes decodes the options and lists the channels that a Resumer of this kind
	// goes on from. What they say must reach the state as it is.
	Resumes func(decode func(dst any) error) ([]string, error)

	// Settable decodes the options and lists the channels that commands set.
	Settable func(decode func(dst any) error) ([]string, error)

	// Watches decodes the options and says whether the device tells by itself: whether it is
	// a Watcher, and its sampling interval means nothing. Nil: none of the kind is.
	Watches func(decode func(dst any) error) bool

	// Moves decodes the options and says whether something in the world may move when the
	// device is opened, and again when it is closed: an output goes to its initial and to
	// its safe state. Nil: nothing moves by any device of the kind.
	Moves func(decode func(dst any) error) bool

	// Failsafe decodes the options and says whether the device has a safe state: whether it
	// is a Failsafe. Nil: none of the kind is.
	Failsafe func(decode func(dst any) error) bool

	// Reach decodes the options and says why this process could not open the device now,
	// as far as that shows without touching it: something is not there, or its group
	// is missing. So does a device that opens and is without a part that was asked for.
	// root stands before /dev and /sys; "" is the machine itself.
	Reach func(decode func(dst any) error, root string) error

	// Open decodes the options and opens the device. decode fills a struct that
	// holds the defaults, strictly: a key that the struct does not have is an error.
	// Open should return when ctx ends. Its error says what to check; errors that
	// Explain made do. The caller closes the device.
	Open func(ctx context.Context, decode func(dst any) error, p Ports) (Device, error)
}

// A Use is one thing of the machine that a device takes.
type Use struct {
	// What names it, the same for everyone who takes it: "the serial port /dev/ttyUSB0",
	// "address 0x76 on I2C bus 1", "the GPIO line GPIO17".
	What string

	// Shared says under which settings others may use it at the same time: "9600 baud,
	// 8N1". "" means that nobody else may.
	Shared string

	// Key is the option that says so, for the place of a mistake.
	Key string
}

// Options is what a kind decodes its keys into: plain data with toml tags.
type Options interface {
	// Validate returns a sentence that begins with the key that is wrong, or several, as
	// Mistakes and errors.Join do. It may be asked about options that were decoded in part.
	Validate() error
}

// options of a kind whose devices take something of the machine for themselves. It may
// be asked about options that are wrong.
type taker interface{ Uses() []Use }

// options of a kind whose way to the hardware can be looked at.
type reacher interface{ Reach(root string) error }

// options of a kind whose devices go on from what these channels said last.
type resumer interface{ Resumes() []string }

// options of a kind of whose devices commands set these channels.
type settable interface{ Settable() []string }

// options of kinds that may have devices that tell by themselves, that move when they are
// opened and closed, and with a safe state. They may be asked about options that are wrong.
type (
	teller  interface{ Watches() bool }
	mover   interface{ Moves() bool }
	careful interface{ Failsafe() bool }
)

// answer is what options say of their device; nil if those of the kind say nothing of it.
func answer[O, A any](options func(decode func(any) error) (O, error), ask func(A) bool) func(decode func(any) error) bool {
	if _, ok := any(*new(O)).(A); !ok {
		return nil
	}
	return func(decode func(any) error) bool {
		o, _ := options(decode) // Check says what is wrong with them
		return ask(any(o).(A))
	}
}

// list is what options that are right list of their device; nothing if those of the kind
// have no such list.
func list[O, A any](options func(decode func(any) error) (O, error), ask func(A) []string) func(decode func(any) error) ([]string, error) {
	return func(decode func(any) error) ([]string, error) {
		o, err := options(decode)
		if a, ok := any(o).(A); ok && err == nil {
			return ask(a), nil
		}
		return nil, err
	}
}

// KindOf makes a Kind of its options' defaults and of a function that opens a
// device with options that are valid.
func KindOf[O Options](name, summary, example string, defaults func() O, open func(context.Context, O, Ports) (Device, error)) Kind {
	options := func(decode func(any) error) (O, error) {
		o := defaults()
		if err := decode(&o); err != nil {
			return o, err
		}
		return o, o.Validate()
	}
	return Kind{
		Watches: answer(options, teller.Watches), Moves: answer(options, mover.Moves), Failsafe: answer(options, careful.Failsafe),
		Resumes: list(options, resumer.Resumes), Settable: list(options, settable.Settable),
		Name: name, Summary: summary, Example: example,
		Check: func(decode func(any) error) error {
			_, err := options(decode)
			return err
		},
		Uses: func(decode func(any) error) ([]Use, error) {
			o, err := options(decode)
			u, ok := any(o).(taker)
			if !ok {
				return nil, err
			}
			return rightUses(u.Uses(), err, o.Validate()), err
		},
		Reach: func(decode func(any) error, root string) error {
			o, err := options(decode)
			if r, ok := any(o).(reacher); ok && err == nil {
				return r.Reach(root)
			}
			return err
		},
		Open: func(ctx context.Context, decode func(any) error, p Ports) (Device, error) {
			o, err := options(decode)
			if err != nil {
				return nil, err
			}
			return open(ctx, o, p)
		},
	}
}

// rightUses leaves out of uses what may follow from a mistake: the device would be said
// to take what nobody meant. said is what is wrong at all, keys is what Validate says.
func rightUses(uses []Use, said, keys error) []Use {
	if said == nil {
		return uses
	}
	var wrong Mistakes
	wrong.Add("", keys)
	return slices.DeleteFunc(uses, func(u Use) bool {
		return u.Shared != "" || slices.ContainsFunc(wrong, func(err error) bool {
			return strings.HasPrefix(err.Error(), u.Key+" ")
		})
	})
}

// Ports are the ways to the hardware. A nil function means that this gateway has
// no such way. All functions are safe for concurrent use.
type Ports struct {
	// Root stands before /proc and /sys; "" is the machine itself.
	Root string

	// Serial opens a serial port for the caller alone.
	Serial func(SerialConfig) (SerialPort, error)

	// Pin finds a GPIO line by its name ("GPIO17") or by chip and offset
	// ("gpiochip0:17"), for the caller alone. The pin may implement io.Closer; then
	// the caller closes it. Inputs want it to be a Listener of drivers/gpio.
	Pin func(name string) (gpio.PinIO, error)

	// I2C finds a chip on a bus, for the caller alone. It does not ask whether the
	// chip answers.
	I2C func(I2CConfig) (I2CChip, error)

	// Interlocks are those of all devices of the gateway; nil = there are none.
	Interlocks *Interlocks

	// Turns are those of all devices of the gateway; nil = nobody waits.
	Turns *Turns
}

// SerialConfig says which port to open and how.
type SerialConfig struct {
	Path     string // "/dev/ttyUSB0", better "/dev/serial/by-id/..."
	Baud     int    // bits per second
	DataBits int    // 5 to 8; 0 = 8
	Parity   string // "none", "odd" or "even"; "" = none
	StopBits int    // 1 or 2; 0 = 1
	RS485    RS485  // the zero value leaves the port as it is
}

// RS485 says that the kernel is to turn the transceiver of an RS-485 line round, with
// the RTS line of the port. Most USB adapters, and many others, do that by themselves.
type RS485 struct {
	On        bool
	Before    time.Duration // from turning to the first bit; whole milliseconds
	After     time.Duration // from the last bit to turning back
	ActiveLow bool          // RTS is low, not high, while sending
}

// A SerialPort is an open serial port. One goroutine at a time may use it.
//
// Read waits for the first byte, at most SerialPatience: then its error is
// os.ErrDeadlineExceeded and the port is as good as before. Any other error means
// that the port is gone. Write returns when the driver has taken all bytes. Close
// lets go of the port; it does not wait for bytes that are still to be sent.
type SerialPort interface {
	io.Reader
	io.Writer
	io.Closer
}

// SerialPatience is about how long Read of a SerialPort waits for a byte.
const SerialPatience = 300 * time.Millisecond
