package gpio

import (
	"errors"
	"time"

	"periph.io/x/conn/v3/gpio"
)

// A Listener is a line that tells its edges with their time and their number, for
// which gpio.PinIO has no words. What Ports.Pin returns must be one for devices that
// listen; the lines of System are, and those of gpiotest. One goroutine at a time
// may use it.
type Listener interface {
	gpio.PinIO

	// Listen makes the line an input. It tells whether the line is debounced from
	// here on; if not, the caller has to. Its error may be ErrNoEdges.
	Listen(Listening) (debounced bool, err error)

	// Edges gives the edges that have come, oldest first, and waits for the first of
	// them as long as patience; without patience it asks only. Of more than
	// Kept that wait the oldest are dropped, which shows in their numbers. An error of it says
	// that the line is of no more use.
	Edges(into []Edge, patience time.Duration) (n int, err error)

	// Sense returns the level, behind the debouncer if there is one.
	Sense() (gpio.Level, error)
}

// Kept is how many edges wait for a reader: gpio_v2_line_request.event_buffer_size
// in linux/gpio.h, which for one line is 16 unless asked for more.
const Kept = 16

// Listening says how to listen to a line.
type Listening struct {
	Pull     gpio.Pull     // gpio.Float switches the chip's resistors off
	Edge     gpio.Edge     // which edges; gpio.NoEdge to ask for the level alone
	Debounce time.Duration // the level counts when it has been quiet for so long
}

// An Edge is one change of a line, as the kernel saw it.
type Edge struct {
	// At is when it happened, on this machine's clock as that was set when the edge
	// was read. Behind a debouncer it is when the line came to rest.
	At time.Time

	// Clock is the same on the kernel's monotonic clock, which nobody sets: the
	// difference of two edges is exact.
	Clock time.Duration

	// Seq counts the edges since Listen from 1, dropped ones too, and goes on from 0
	// after 2³²-1.
	Seq uint32

	// Level is what the line was after the edge. When edges follow each other faster
	// than the kernel handles them it may be that of a later one.
	Level gpio.Level
}

// ErrNoEdges is the error of Listen for a line that can be read and not listened to.
var ErrNoEdges = errors.New("its chip gives no interrupts, so nobody sees its edges; take a line of the board itself, or connect the chip's interrupt output and name it in the device tree")
