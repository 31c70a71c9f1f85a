package modbus

import (
	"bytes"
	"os"
	"testing"
)

// pieces is a port on which bytes come in pieces, and then nothing.
type pieces struct {
	left []byte
	size int
}

func (p *pieces) Write(b []byte) (int, error) { return len(b), nil }
func (p *pieces) Close() error                { return nil }
func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b[:min(len(b), p.size)], p.left)
	p.left = p.left[n:]
	return n, nil
}

// However the bytes of an answer arrive, it is the same one, and as long as was asked for.
func FuzzAnswersInPieces(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x00\x00\x09\x11\x03\x06\xae\x41\x56\x52\x43\x40"), uint8(1), uint8(2), uint16(3))
	f.Add([]byte("\x00\x00\x00\x00\x00\x03\x11\x83\x02\x00\x01\x00\x00\x00\x03\x11\x83\x02"), uint8(5), uint8(2), uint16(3))
	f.Add([]byte("\xff\x11\x03\x06\xae\x41\x56\x52\x43\x40\x49\xad"), uint8(3), uint8(2), uint16(3))
	f.Add([]byte("\x11\x06\x00\x01\x00\x03\x9a\x9b"), uint8(1), uint8(5), uint16(1))
	f.Fuzz(func(t *testing.T, answer []byte, size, function uint8, count uint16) {
		r := request{function: 1 + function%6, at: 1, count: 1 + int(count)%mostRegisters}
		if r.writes() {
			r.count, r.data = 1, []byte{0, 3}
		}
		ask := func(size int) (got [2][]byte) {
			for i, c := range []carrier{&tcp{conn: &pieces{answer, size}}, &rtu{port: &pieces{answer, size}}} {
				pdu, err := c.ask(t.Context(), 0x11, r, waits{})
				if (err == nil) != (pdu != nil) {
					t.Errorf("% x: % x, %v", answer, pdu, err)
				}
				if err != nil {
					continue
				}
				if data, err := r.parse(pdu); err == nil && !r.writes() && len(data) != r.payload() {
					t.Errorf("%d bytes of data instead of %d", len(data), r.payload())
				}
				got[i] = pdu
			}
			return got
		}
		whole, cut := ask(512), ask(1+int(size))
		for i := range whole {
			if !bytes.Equal(whole[i], cut[i]) {
				t.Errorf("% x in pieces of %d: % x, whole: % x", answer, 1+int(size), cut[i], whole[i])
			}
		}
	})
}
