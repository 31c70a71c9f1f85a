package modbus_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/modbus"
	"edgegateway/drivers/modbus/modbustest"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/ptytest"
	"edgegateway/drivers/serial/serialtest"
)

// A wire is the far end of a real terminal, as a unit has it whose value is the
// number of requests so far.
type wire struct {
	*os.File
	asked int
	send  func(w *wire, answer []byte) // what arrives of an answer
	hears func(w *wire, sent []byte)   // nil, or what happens as soon as bytes arrive at the unit
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.File.Read(b)
	if w.hears != nil {
		w.hears(w, b[:n])
	}
	return n, err
}

func (w *wire) Write(frame []byte) (int, error) {
	w.asked++
	pdu := frame[1 : len(frame)-2]
	if pdu[0] == 3 {
		pdu = []byte{3, 2, byte(w.asked >> 8), byte(w.asked)}
	}
	w.send(w, modbustest.Frame(frame[0], pdu))
	return len(frame), nil
}

func whole(w *wire, answer []byte) { w.File.Write(answer) }

// odd spoils the first answer and every second one after it, even the others.
func odd(spoil func(w *wire, answer []byte)) func(*wire, []byte) {
	return func(w *wire, answer []byte) {
		if w.asked%2 == 1 {
			spoil(w, answer)
		} else {
			whole(w, answer)
		}
	}
}

func even(spoil func(w *wire, answer []byte)) func(*wire, []byte) {
	return func(w *wire, answer []byte) {
		if w.asked%2 == 0 {
			spoil(w, answer)
		} else {
			whole(w, answer)
		}
	}
}

// What units and lines do, on a real terminal. Readings are to have the number of
// their own request, and bad answers none. Time is real, so an answer has two seconds on
// a machine that is busy with something else.
func TestUnitsOnATerminal(t *testing.T) {
	const patience = 2 * time.Second
	for _, c := range []struct {
		name    string
		wire    wire
		want    string // is told at last
		never   string // a value that would be another request's
		inTrain string // is told on the way there
	}{
		{"good", wire{send: whole}, "a=5", "fault", "online|a=1|a=2|a=3|a=4|a=5"},
		{"byte by byte", wire{send: func(w *wire, answer []byte) {
			for _, b := range answer {
				w.File.Write([]byte{b})
				time.Sleep(time.Millisecond) // as on a slow line
			}
		}}, "a=5", "fault", "online|a=1|a=2|a=3|a=4|a=5"},
		{"echo", wire{send: whole, hears: func(w *wire, sent []byte) { w.File.Write(sent) }}, "a=5", "fault", "online|a=1|a=2|a=3|a=4|a=5"},
		{"noise before each answer", wire{send: func(w *wire, answer []byte) { w.File.Write(append([]byte{0x00, 0xFF, 0x01}, answer...)) }}, "a=5", "fault", "online|a=1|"},
		{"every second request is not answered", wire{send: even(func(*wire, []byte) {})}, "a=5", "a=2|", "online|a=1|a=3|a=5"},
		{"nor is the first one", wire{send: odd(func(*wire, []byte) {})}, "a=4", "a=1|", "offline: no answer from unit 1 on "},
		{"wrong CRC", wire{send: even(func(w *wire, answer []byte) {
			answer[len(answer)-1] ^= 1
			w.File.Write(answer)
		})}, "a=5", "a=2|", "online|a=1|a=3|a=5"},
		{"another unit", wire{send: even(func(w *wire, answer []byte) {
			w.File.Write(modbustest.Frame(2, answer[1:len(answer)-2]))
		})}, "a=5", "a=2|", "online|a=1|a=3|a=5"},
		{"exceptions", wire{send: even(func(w *wire, answer []byte) {
			w.File.Write(modbustest.Frame(answer[0], []byte{0x83, 6}))
		})}, "a=5", "a=2|", "online|a=1|a=3|a=5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cable := ptytest.Plug(t)
			c.wire.File = cable.File
			var serving sync.WaitGroup
			serving.Go(func() {
				modbustest.ServeRTU(&c.wire, map[byte]*modbustest.Unit{1: {Holding: map[int]uint16{0: 0}}})
			})
			d := serialtest.Run(t, drivers.Spec{
				Kind: modbus.RTUKind(), Every: 10 * time.Millisecond, Ports: drivers.Ports{Serial: serial.Open},
				Decode: with(fmt.Sprintf("path = %q\nbaud = 115200\ntimeout = %q\npoints = [{name = \"a\"}]", cable.Path, patience)),
			})
			d.Wait(t, c.want)
			d.End(t)
			cable.Close()
			serving.Wait()
			if got := d.Text(); !strings.Contains(got, c.inTrain) || strings.Contains(got, c.never) {
				t.Error(got)
			}
		})
	}
}

// A converter that never stops talking: the unit is offline with that as the reason,
// and works as soon as there is silence.
func TestLineThatIsNeverSilent(t *testing.T) {
	cable := ptytest.Plug(t)
	stop := ptytest.Flood(t, cable.File)
	d := serialtest.Run(t, drivers.Spec{
		Kind: modbus.RTUKind(), Every: 10 * time.Millisecond, Ports: drivers.Ports{Serial: serial.Open},
		Decode: with(fmt.Sprintf("path = %q\nbaud = 115200\ntimeout = \"50ms\"\npoints = [{name = \"a\"}]", cable.Path)),
	})
	d.Wait(t, "offline: "+cable.Path+" is never silent; is the baud rate right, is there another master?")
	stop()
	var serving sync.WaitGroup
	serving.Go(func() {
		modbustest.ServeRTU(cable, map[byte]*modbustest.Unit{1: {Holding: map[int]uint16{0: 7}}})
	})
	d.Wait(t, "a=7")
	stop = ptytest.Flood(t, cable.File) // it ends in the middle of it, too
	d.End(t)
	stop()
	cable.Close()
	serving.Wait()
}
