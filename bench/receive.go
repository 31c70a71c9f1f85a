package bench

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"edgegateway/broker/packet"
)

// Types of control packets as they stand in the first byte, shifted.
const (
	publish  = byte(packet.PUBLISH)
	puback   = byte(packet.PUBACK)
	pubrec   = byte(packet.PUBREC)
	pubrel   = byte(packet.PUBREL)
	pubcomp  = byte(packet.PUBCOMP)
	suback   = byte(packet.SUBACK)
	pingresp = byte(packet.PINGRESP)
)

var errClosed = errors.New("the broker has closed the connection")

// ended says in our words how a connection ended.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return errClosed
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the broker has been silent for %v", patience)
	}
	return err
}

// refusal is the error that a packet means which has no place here.
func refusal(first byte, body []byte) error {
	if first>>4 == byte(packet.DISCONNECT) && len(body) > 0 {
		return fmt.Errorf("the broker has ended the connection with reason code 0x%02x", body[0])
	}
	return fmt.Errorf("the broker sent a %v, which has no place here", packet.Type(first>>4))
}

// receive reads acknowledgements until the PINGRESP that ends the run.
func (p *publisher) receive() {
	defer close(p.done)
	for {
		if err := p.conn.in.fill(); err != nil {
			p.err = ended(err)
			return
		}
		done, err := p.acks()
		if p.err = err; done || err != nil {
			return
		}
		p.notify()
		if p.rests && p.packets < restAfter {
			rest()
		}
	}
}

// acks handles the acknowledgements that are in the buffer.
func (p *publisher) acks() (done bool, err error) {
	now := p.clock.now()
	p.flights.mu.Lock()
	defer p.flights.mu.Unlock()
	for p.packets = 0; ; p.packets++ {
		first, body, err := p.conn.in.next()
		if body == nil || err != nil {
			return false, err
		}
		switch first >> 4 {
		case puback, pubrec, pubcomp:
			p.flights.ackLocked(first, body, now)
		case pingresp:
			if p.pong.Load() {
				return true, nil
			}
		default:
			return false, refusal(first, body)
		}
	}
}
