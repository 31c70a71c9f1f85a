package gpio

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio"
)

// The words of gpio.PinIO: a negative timeout is none, and Halt ends a wait also when
// it comes before.
func TestWaitForEdgeKeepsThePromisesOfItsInterface(t *testing.T) {
	r, w := pipe(t)
	defer unix.Close(w)
	l := &line{req: r}
	edges := make(chan bool, 1)
	go func() { edges <- l.WaitForEdge(-1) }()
	put(t, w, unix.GPIOV2LineEvent{Line_seqno: 1}, unix.GPIOV2LineEvent{Line_seqno: 2})
	if !<-edges || !l.WaitForEdge(0) {
		t.Error("two edges were made")
	}
	if r.file == nil {
		t.Error("it asked again and again")
	}
	for _, timeout := range []time.Duration{0, time.Millisecond} {
		if l.WaitForEdge(timeout) {
			t.Errorf("an edge within %v that nobody made", timeout)
		}
	}
	if err := l.Halt(); err != nil || l.WaitForEdge(-1) {
		t.Error("Halt was lost")
	}
}

func TestALineThatWasNotSetUpSaysSo(t *testing.T) {
	l := &line{system: NewSystem(), place: place{chip: "gpiochip9"}}
	if _, err := l.Edges(make([]Edge, 1), time.Hour); !errors.Is(err, unix.EBADF) {
		t.Errorf("edges: %v", err)
	}
	if level, err := l.Sense(); !errors.Is(err, unix.EBADF) || level != gpio.Low || l.Read() != gpio.Low || l.WaitForEdge(-1) {
		t.Errorf("level: %v, %v", level, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// Given back to the kernel, the line would be what the board makes of it.
func TestAnOutputIsKeptAlthoughItsLevelCanNotBeRead(t *testing.T) {
	r, w := pipe(t) // of which there is no level to be had
	defer unix.Close(w)
	s := NewSystem()
	l := &line{system: s, place: place{chip: "gpiochip9"}, req: r, out: true}
	if err := l.Close(); err != nil || s.kept[l.place.key()] != r {
		t.Errorf("%v; kept: %v", err, s.kept)
	}
}
