package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"edgegateway/drivers"
)

// A tcp carries PDUs behind an MBAP header (Messaging on TCP/IP V1.0b, 3.1.3).
type tcp struct {
	name   string // address, for errors
	conn   drivers.SerialPort
	number uint16 // of the last transaction
	heard  time.Time
}

const mbap = 7 // bytes of the header: transaction, protocol, length, unit

// quiet looks whether the connection is there behind the delay: it may be closed meanwhile.
func (c *tcp) quiet(ctx context.Context, _ request, w waits) error {
	if err := pause(ctx, time.Until(c.heard.Add(w.delay))); err != nil {
		return err
	}
	return c.there()
}

func (c *tcp) ask(ctx context.Context, unit byte, r request, w waits) ([]byte, error) {
	c.number++
	frame := make([]byte, mbap-1, 32)
	frame = r.append(append(frame, unit))
	binary.BigEndian.PutUint16(frame[0:], c.number)
	binary.BigEndian.PutUint16(frame[4:], uint16(len(frame)-6))
	if _, err := c.conn.Write(frame); err != nil {
		return nil, err
	}
	var pdu, came []byte
	err := receive(ctx, c.conn, time.Now().Add(w.answer), func(got []byte) (ready bool, err error) {
		came, c.heard = got, time.Now()
		pdu, err = c.find(got, unit)
		return pdu != nil, err
	})
	switch {
	case err == os.ErrDeadlineExceeded:
		return nil, noAnswer(fmt.Sprintf("unit %d at %s", unit, c.name), "", r)
	case errors.Is(err, errCut):
		return nil, c.misfit(came)
	}
	return pdu, err
}

// misfit says what is wrong with what came in place of an answer. Some Modbus gateways
// count for themselves.
func (c *tcp) misfit(came []byte) error {
	if len(came) >= mbap && binary.BigEndian.Uint16(came) != c.number {
		return fmt.Errorf("%w: its transaction is %d, that of the request %d; is there newer firmware for the Modbus gateway, or can it take bytes as they are (framing = \"rtu\")?",
			errNonsense, binary.BigEndian.Uint16(came), c.number)
	}
	return fmt.Errorf("%w: it ends after % x", errNonsense, came[:min(len(came), 16)])
}

// find looks for the answer to the last transaction, behind late answers to earlier
// ones; nil means that it is not complete.
func (c *tcp) find(got []byte, unit byte) ([]byte, error) {
	for len(got) >= mbap {
		number, protocol, length := binary.BigEndian.Uint16(got), binary.BigEndian.Uint16(got[2:]), int(binary.BigEndian.Uint16(got[4:]))
		if protocol != 0 || length < 3 || length > 254 { // 254: unit and the largest PDU, 4.1
			return nil, fmt.Errorf("%w: % x is no header of Modbus TCP; is framing = \"rtu\" meant?", errNonsense, got[:mbap])
		}
		if len(got) < 6+length {
			return nil, nil
		}
		if number == c.number {
			if got[6] != unit {
				return nil, fmt.Errorf("%w: unit %d answers for unit %d", errNonsense, got[6], unit)
			}
			return got[mbap : 6+length], nil
		}
		got = got[6+length:]
	}
	return nil, nil
}

func (c *tcp) there() error { return discard(c.conn) }

func (c *tcp) numbered() bool { return true }

func (c *tcp) Close() error { return c.conn.Close() }

// A connection reads as a serial port does: it gives up after some time.
type connection struct {
	net.Conn
	address string
}

// dial connects, within the time that ctx and timeout leave.
func dial(ctx context.Context, address string, timeout time.Duration) (drivers.SerialPort, error) {
	d := net.Dialer{Timeout: timeout}
	conn, err := d.DialContext(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("connect to %s: %w; is Modbus TCP switched on there, on this port?", address, plain(err))
	case err != nil:
		return nil, fmt.Errorf("connect to %s: %w; check the address and whether the device is on", address, plain(err))
	}
	return &connection{conn, address}, nil
}

// plain leaves out of an error of the network what its sentence says anyway: the address
// and the call.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}

func (c *connection) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(drivers.SerialPatience)); err != nil {
		return 0, c.lost(err)
	}
	n, err := c.Conn.Read(b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, c.lost(err)
	}
	return n, err
}

// mostDiscarded bounds what DiscardInput takes of who sends without end, in buffers.
const mostDiscarded = 64

// DiscardInput forgets what has come and was not read. Its error says that the other end
// has closed the connection.
func (c *connection) DiscardInput() error {
	raw, err := c.Conn.(syscall.Conn).SyscallConn()
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return c.lost(err)
	}
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool { // the socket does not block
		buf := make([]byte, 512)
		for range mostDiscarded {
			if n, failed = syscall.Read(int(fd), buf); n <= 0 && failed != syscall.EINTR {
				break
			}
		}
		return true
	})
	switch {
	case err != nil:
		return c.lost(err)
	case n == 0:
		return c.lost(io.EOF)
	case failed != nil && failed != syscall.EAGAIN && failed != syscall.EINTR:
		return c.lost(failed)
	}
	return nil
}

func (c *connection) Write(b []byte) (int, error) {
	// A request fits any send buffer; where it does not the other end is dead.
	if err := c.SetWriteDeadline(time.Now().Add(drivers.SerialPatience)); err != nil {
		return 0, c.lost(err)
	}
	n, err := c.Conn.Write(b)
	if err != nil {
		return n, c.lost(err)
	}
	return n, nil
}

func (c *connection) lost(err error) error {
	return fmt.Errorf("the connection to %s broke: %w", c.address, err)
}
