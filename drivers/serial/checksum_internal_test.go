package serial

import (
	"bytes"
	"testing"
)

// The check values of the catalogue of parametrised CRC algorithms: of the nine
// digits.
func TestChecksums(t *testing.T) {
	for _, c := range []struct {
		name string
		c    Checksum
		want uint16
	}{
		{"CRC-8/SMBUS", Checksum{Type: "crc8", Poly: 0x07}, 0xF4},
		{"CRC-8/NRSC-5", Checksum{Type: "crc8", Poly: 0x31, Init: 0xFF}, 0xF7},
		{"CRC-8/MAXIM-DOW", Checksum{Type: "crc8", Poly: 0x31, Reflect: true}, 0xA1},
		{"CRC-16/ARC", Checksum{Type: "crc16", Poly: 0x8005, Reflect: true}, 0xBB3D},
		{"CRC-16/MODBUS", Checksum{Type: "crc16", Poly: 0x8005, Init: 0xFFFF, Reflect: true}, 0x4B37},
		{"CRC-16/XMODEM", Checksum{Type: "crc16", Poly: 0x1021}, 0x31C3},
		{"CRC-16/IBM-3740", Checksum{Type: "crc16", Poly: 0x1021, Init: 0xFFFF}, 0x29B1},
		{"CRC-16/IBM-SDLC", Checksum{Type: "crc16", Poly: 0x1021, Init: 0xFFFF, XorOut: 0xFFFF, Reflect: true}, 0x906E},
		{"CRC-16/KERMIT", Checksum{Type: "crc16", Poly: 0x1021, Reflect: true}, 0x2189},
		{"sum8", Checksum{Type: "sum8"}, 0xDD}, // 9 × 0x30 + 45
		{"sum16", Checksum{Type: "sum16"}, 0x1DD},
		{"neg8", Checksum{Type: "neg8"}, 0x23},
		{"xor", Checksum{Type: "xor"}, 0x31},
	} {
		if got := c.c.of([]byte("123456789")); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
		frame := []byte("123456789")
		c.c.Order = "little"
		frame = append(frame, byte(c.want))
		if c.c.width() == 2 {
			frame = append(frame, byte(c.want>>8))
		}
		if err := c.c.check(append(frame, "END"...), 3); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		frame[3] ^= 8
		if err := c.c.check(append(frame, "END"...), 3); err == nil {
			t.Errorf("%s: a changed bit does not show", c.name)
		}
	}
}

// However bytes arrive, the frames are the same, and what is held is bounded.
func FuzzFramer(f *testing.F) {
	two := []byte("\x55\x01\x07\x5d\x55\x03\x07\x08\x09\x70")
	for piece := range uint8(len(two)) { // in pieces, cut, and with a byte of each sort in each place
		f.Add(two, piece)
		f.Add(two[piece:], piece)
		f.Add(two[:piece], uint8(0))
		for _, odd := range []byte{0, 1, 0x55, 0x7f, 0x80, 0xfc, 0xff} {
			changed := bytes.Clone(two)
			changed[piece] = odd
			f.Add(changed, piece)
		}
	}
	f.Add([]byte("\x55\xff\x55\x55\x00\x01"), uint8(1))
	o := FrameOptions{
		Header: Hex{0x55}, LengthField: LengthField{At: 1, Size: 1, Plus: 3}, Checksum: Checksum{Type: "sum8", Order: "big"},
		Fields: []FrameField{{Name: "a", At: 2}},
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		var whole, pieces []string
		newFramer(o).feed(data, func(frame []byte, err error) {
			if err == nil {
				whole = append(whole, string(frame))
			}
		})
		fr := newFramer(o)
		for len(data) > 0 {
			n := min(int(piece)+1, len(data))
			fr.feed(data[:n], func(frame []byte, err error) {
				if err == nil {
					pieces = append(pieces, string(frame))
					o.Fields[0].decode(frame)
				}
			})
			data = data[n:]
			if len(fr.held) > longestFrame {
				t.Fatalf("%d bytes are held", len(fr.held))
			}
		}
		if len(whole) != len(pieces) {
			t.Errorf("%q, %q", whole, pieces)
		}
	})
}
