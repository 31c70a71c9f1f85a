// Package modbustest is Modbus units in memory, for tests: the other end of a serial
// line or of a TCP connection. It shares no code with the package that it tests.
package modbustest

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"net"
	"sync"
)

// A Unit holds what its tables hold; what is not in them is refused with exception 2.
// Its methods are safe for concurrent use.
type Unit struct {
	mu              sync.Mutex // guards what follows
	Coils, Discrete map[int]bool
	Holding, Input  map[int]uint16
	asked           int
	silent          bool
}

// Asked counts requests.
func (u *Unit) Asked() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.asked
}

// Mute makes the unit silent, or ends that.
func (u *Unit) Mute(silent bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.silent = silent
}

// Change changes the tables under their lock.
func (u *Unit) Change(f func(*Unit)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f(u)
}

// Answer answers a PDU; nil is silence.
func (u *Unit) Answer(pdu []byte) []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked++
	if u.silent {
		return nil
	}
	function := pdu[0]
	refuse := func(code byte) []byte { return []byte{function | 0x80, code} }
	at, n := int(pdu[1])<<8|int(pdu[2]), int(pdu[3])<<8|int(pdu[4])
	switch function {
	case 1, 2:
		table := u.Coils
		if function == 2 {
			table = u.Discrete
		}
		if n < 1 || n > 2000 {
			return refuse(3)
		}
		packed := make([]byte, (n+7)/8)
		for i := range n {
			on, there := table[at+i]
			if !there {
				return refuse(2)
			}
			if on {
				packed[i/8] |= 1 << (i % 8)
			}
		}
		return append([]byte{function, byte(len(packed))}, packed...)
	case 3, 4:
		table := u.Holding
		if function == 4 {
			table = u.Input
		}
		if n < 1 || n > 125 {
			return refuse(3)
		}
		answer := []byte{function, byte(2 * n)}
		for i := range n {
			v, there := table[at+i]
			if !there {
				return refuse(2)
			}
			answer = append(answer, byte(v>>8), byte(v))
		}
		return answer
	case 5:
		if _, there := u.Coils[at]; !there {
			return refuse(2)
		}
		if n != 0 && n != 0xFF00 {
			return refuse(3)
		}
		u.Coils[at] = n != 0
		return pdu
	case 6:
		if _, there := u.Holding[at]; !there {
			return refuse(2)
		}
		u.Holding[at] = uint16(n)
		return pdu
	case 15:
		for i := range n {
			if _, there := u.Coils[at+i]; !there {
				return refuse(2)
			}
			u.Coils[at+i] = pdu[6+i/8]>>(i%8)&1 == 1
		}
		return pdu[:5]
	case 16:
		for i := range n {
			if _, there := u.Holding[at+i]; !there {
				return refuse(2)
			}
			u.Holding[at+i] = uint16(pdu[6+2*i])<<8 | uint16(pdu[7+2*i])
		}
		return pdu[:5]
	}
	return refuse(1)
}

// ServeRTU answers the frames that come until reading or writing fails.
func ServeRTU(line io.ReadWriter, units map[byte]*Unit) error {
	for {
		frame := make([]byte, 8)
		if _, err := io.ReadFull(line, frame); err != nil {
			return err
		}
		if frame[1] == 15 || frame[1] == 16 { // the eighth byte is the first of the data, and two of CRC follow it
			rest := make([]byte, int(frame[6])+1)
			if _, err := io.ReadFull(line, rest); err != nil {
				return err
			}
			frame = append(frame, rest...)
		}
		if CRC(frame) != 0 {
			return errors.New("a frame with a wrong CRC came")
		}
		unit := units[frame[0]]
		if unit == nil {
			continue
		}
		if answer := unit.Answer(frame[1 : len(frame)-2]); answer != nil {
			if _, err := line.Write(Frame(frame[0], answer)); err != nil {
				return err
			}
		}
	}
}

// Frame makes a frame of RTU.
func Frame(unit byte, pdu []byte) []byte {
	frame := append([]byte{unit}, pdu...)
	return binary.LittleEndian.AppendUint16(frame, CRC(frame))
}

// CRC divides by x^16+x^15+x^2+1, with the first bit to arrive as the highest, which
// is the lowest of each byte. That of a frame with its CRC is 0.
func CRC(frame []byte) uint16 {
	rest := uint16(0xFFFF)
	for _, b := range frame {
		rest ^= uint16(bits.Reverse8(b)) << 8
		for range 8 {
			high := rest >> 15
			rest = rest<<1 ^ high*0x8005
		}
	}
	return bits.Reverse16(rest)
}

// ServeTCP answers on each connection that a listener accepts until it is closed,
// and returns when all connections are closed.
func ServeTCP(l net.Listener, units map[byte]*Unit) {
	var serving sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	for {
		conn, err := l.Accept()
		if err != nil {
			break
		}
		mu.Lock()
		open = append(open, conn)
		mu.Unlock()
		serving.Go(func() {
			defer conn.Close()
			for {
				head := make([]byte, 7)
				if _, err := io.ReadFull(conn, head); err != nil {
					return
				}
				pdu := make([]byte, int(binary.BigEndian.Uint16(head[4:]))-1)
				if _, err := io.ReadFull(conn, pdu); err != nil {
					return
				}
				unit := units[head[6]]
				if unit == nil {
					continue
				}
				if answer := unit.Answer(pdu); answer != nil {
					binary.BigEndian.PutUint16(head[4:], uint16(len(answer)+1))
					conn.Write(append(head, answer...))
				}
			}
		})
	}
	mu.Lock()
	for _, conn := range open {
		conn.Close()
	}
	mu.Unlock()
	serving.Wait()
}
