package modbus_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/modbus"
	"edgegateway/drivers/modbus/modbustest"
	"edgegateway/internal/need"
)

func listen(t *testing.T, units map[byte]*modbustest.Unit) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		modbustest.ServeTCP(l, units)
	}()
	t.Cleanup(func() { l.Close(); <-served })
	return l
}

func TestTCP(t *testing.T) {
	unit := one()
	l := listen(t, map[byte]*modbustest.Unit{1: unit, 0: one()})
	options := fmt.Sprintf("address = %q\n", l.Addr()) + someOfEverything
	k := modbus.TCPKind()
	dev, other := open(t, k, options, drivers.Ports{}), open(t, k, "unit_id = 0\n"+options, drivers.Ports{})
	for _, dev := range []drivers.Device{dev, other} {
		if got := sample(t, dev); got != all {
			t.Error(got)
		}
	}
	if got := actuate(t, dev, "setpoint", 7.5); got != "setpoint=7.5" {
		t.Error(got)
	}
	if got := sample(t, other); !strings.Contains(got, "setpoint=21.7") {
		t.Errorf("the other unit has %s", got)
	}
	if err := errors.Join(dev.Close(), other.Close()); err != nil {
		t.Error(err)
	}
}

// A device that closes idle connections, as most do, costs no reading.
func TestTCPConnectionIsMadeAnew(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	connections := make(chan int, 10)
	go func() {
		for n := 1; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections <- n
			request := make([]byte, 12)
			if _, err := io.ReadFull(conn, request); err == nil {
				// A late answer to something else comes before it.
				conn.Write([]byte{9, 9, 0, 0, 0, 5, 1, 3, 2, 7, 7})
				conn.Write([]byte{request[0], request[1], 0, 0, 0, 5, 1, 3, 2, 0, byte(n)})
			}
			conn.Close()
		}
	}()
	dev := open(t, modbus.TCPKind(), fmt.Sprintf("address = %q\npoints = [{ name = \"a\" }]", l.Addr()), drivers.Ports{})
	defer dev.Close()
	for n := 1; n < 4; n++ {
		if got := sample(t, dev); got != fmt.Sprintf("a=%d", n) {
			t.Errorf("sample %d: %s", n, got)
		}
		if got := <-connections; got != n {
			t.Errorf("connection %d", got)
		}
	}
}

func TestTCPSaysWhatIsWrong(t *testing.T) {
	l, err := net.Listen("tcp", need.Port(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	options := fmt.Sprintf("address = %q\ntimeout = \"300ms\"\npoints = [{ name = \"a\" }]", address)
	dev := open(t, modbus.TCPKind(), options, drivers.Ports{})
	defer dev.Close()
	if got, want := sample(t, dev), "no answer from unit 1 at "+address; !strings.HasPrefix(got, want) {
		t.Errorf("a listener that says nothing: %s", got)
	}
	l.Close()
	_, err = dev.(drivers.Sampler).Sample(t.Context())
	if err == nil || err.Error() != "connect to "+address+": connection refused; is Modbus TCP switched on there, on this port?" || !errors.Is(err, drivers.ErrGone) {
		t.Errorf("nobody listens: %v", err)
	}
}

// A Modbus gateway that counts its answers by itself, one that stops in the middle, and one
// that knows one unit only.
func TestTCPAnswersThatDoNotFit(t *testing.T) {
	for answer, want := range map[string]string{
		"\x00\x02\x00\x00\x00\x05\x01\x03\x02\x00\x07": "the answer does not fit the request: its transaction is 2, that of the request 1; is there newer firmware for the Modbus gateway, or can it take bytes as they are (framing = \"rtu\")?",
		"\x00\x01\x00\x00\x00\x05\x01\x03":             "the answer does not fit the request: it ends after 00 01 00 00 00 05 01 03",
		"\x00\x01\x00\x00\x00\x05\x03\x03\x02\x00\x07": "the answer does not fit the request: unit 3 answers for unit 1",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if _, err := io.ReadFull(conn, make([]byte, 12)); err == nil {
				io.WriteString(conn, answer)
				io.Copy(io.Discard, conn)
			}
		}()
		dev := open(t, modbus.TCPKind(), fmt.Sprintf("address = %q\ntimeout = \"300ms\"\npoints = [{ name = \"a\" }]", l.Addr()), drivers.Ports{})
		if got := sample(t, dev); got != want {
			t.Errorf("% x: %s", answer, got)
		}
		dev.Close()
		l.Close()
		<-served
	}
}

// A Modbus gateway that is deaf for a while after each answer.
func TestTCPDelay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const deaf = 50 * time.Millisecond
	gaps := make(chan time.Duration, 10)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		unit := alike()
		for request := make([]byte, 12); ; {
			waiting := time.Now()
			if _, err := io.ReadFull(conn, request); err != nil {
				return
			}
			gaps <- time.Since(waiting)
			answer := unit.Answer(request[7:])
			conn.Write(append([]byte{request[0], request[1], 0, 0, 0, byte(len(answer) + 1), 1}, answer...))
		}
	}()
	dev := open(t, modbus.TCPKind(), fmt.Sprintf("address = %q\ndelay = %q\n", l.Addr(), 2*deaf)+twoAlike, drivers.Ports{})
	defer dev.Close()
	if got := sample(t, dev); got != "a=1 b=2" {
		t.Error(got)
	}
	<-gaps
	if got := <-gaps; got < deaf {
		t.Errorf("asked again after %v", got)
	}
}

// A device that closes the connection a moment after each answer, and is given longer than
// that before the next request, has not taken a command that would have come too late.
func TestConnectionThatIsClosedDuringTheDelay(t *testing.T) {
	for framing, size := range map[string]int{"tcp": 12, "rtu": 8} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		unit := alike()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				request := make([]byte, size)
				if _, err := io.ReadFull(conn, request); err != nil {
					return
				}
				if framing == "rtu" {
					conn.Write(modbustest.Frame(1, unit.Answer(request[1:6])))
				} else {
					answer := unit.Answer(request[7:])
					conn.Write(append([]byte{request[0], request[1], 0, 0, 0, byte(len(answer) + 1), 1}, answer...))
				}
				time.Sleep(20 * time.Millisecond)
				conn.Close()
			}
		}()
		dev := open(t, modbus.TCPKind(), fmt.Sprintf("address = %q\nframing = %q\ndelay = \"500ms\"\npoints = [{ name = \"a\", address = 100, writable = true, write_only = true }]", l.Addr(), framing), drivers.Ports{})
		for value := range 3 {
			if got := actuate(t, dev, "a", float64(value)); got != "" {
				t.Errorf("%s, command %d: %s", framing, value, got)
			}
		}
		dev.Close()
		l.Close()
	}
}

// Of a unit that is never read nothing shows but whether there is a way to it.
func TestAUnitThatIsNeverReadIsOfflineWithItsHost(t *testing.T) {
	const points = "points = [{ name = \"a\", address = 100, writable = true, write_only = true }]"
	l, err := net.Listen("tcp", need.Port(t))
	if err != nil {
		t.Fatal(err)
	}
	dev := open(t, modbus.TCPKind(), fmt.Sprintf("address = %q\n", l.Addr())+points, drivers.Ports{})
	defer dev.Close()
	patience := time.Now().Add(need.Patience)
	for n := 0; n < 2; { // the first connection, and another one when the host has closed that
		if got := sample(t, dev); got != "" {
			t.Errorf("connection %d: %s", n, got)
		}
		l.(*net.TCPListener).SetDeadline(time.Now().Add(20 * time.Millisecond))
		if conn, err := l.Accept(); err == nil {
			conn.Close()
			n++
		} else if time.Now().After(patience) {
			t.Fatal(err)
		}
	}
	l.Close()
	for err = nil; err == nil && time.Now().Before(patience); { // until the end of the connection has arrived
		_, err = dev.(drivers.Sampler).Sample(t.Context())
	}
	if !errors.Is(err, drivers.ErrGone) || !strings.HasSuffix(err.Error(), "connection refused; is Modbus TCP switched on there, on this port?") {
		t.Errorf("nobody listens: %v", err)
	}

	port := newLine(nil)
	dev = open(t, modbus.RTUKind(), onPort+points, port.Ports())
	defer dev.Close()
	if got := sample(t, dev); got != "" {
		t.Error(got)
	}
	port.Unplug()
	_, err = dev.(drivers.Sampler).Sample(t.Context())
	if !errors.Is(err, drivers.ErrGone) || err.Error() != "/dev/ttyUSB0 is not there; check the cable" {
		t.Errorf("the adapter is pulled out: %v", err)
	}
}

func TestRTUOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		served <- modbustest.ServeRTU(conn, map[byte]*modbustest.Unit{1: one()})
	}()
	dev := open(t, modbus.TCPKind(), fmt.Sprintf("address = %q\nframing = \"rtu\"\n", l.Addr())+someOfEverything, drivers.Ports{})
	if got := sample(t, dev); !strings.HasPrefix(got, "t=21.3") {
		t.Error(got)
	}
	dev.Close()
	if err := <-served; err != io.EOF {
		t.Error(err)
	}
}
