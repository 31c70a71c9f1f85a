package modbus

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"edgegateway/drivers/modbus/modbustest"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The examples of MODBUS Application Protocol V1.1b3, chapter 6, on the pages 12, 13,
// 15, 16, 18, 19, 29 and 30: request, answer, and the data in it.
func TestExamplesOfTheSpecification(t *testing.T) {
	for _, c := range []struct {
		name               string
		r                  request
		sent, answer, data string
	}{
		{"6.1", request{function: readCoils, at: 19, count: 19}, "01 0013 0013", "01 03 CD6B05", "CD6B05"},
		{"6.2", request{function: readDiscreteInputs, at: 196, count: 22}, "02 00C4 0016", "02 03 ACDB35", "ACDB35"},
		{"6.3", request{function: readHoldingRegisters, at: 107, count: 3}, "03 006B 0003", "03 06 022B 0000 0064", "022B 0000 0064"},
		{"6.4", request{function: readInputRegisters, at: 8, count: 1}, "04 0008 0001", "04 02 000A", "000A"},
		{"6.5", request{function: writeSingleCoil, at: 172, count: 1, data: unhex(t, "FF00")}, "05 00AC FF00", "05 00AC FF00", ""},
		{"6.6", request{function: writeSingleRegister, at: 1, count: 1, data: unhex(t, "0003")}, "06 0001 0003", "06 0001 0003", ""},
		{"6.11", request{function: writeMultipleCoils, at: 19, count: 10, data: unhex(t, "CD01")}, "0F 0013 000A 02 CD01", "0F 0013 000A", ""},
		{"6.12", request{function: writeMultipleRegisters, at: 1, count: 2, data: unhex(t, "000A 0102")}, "10 0001 0002 04 000A 0102", "10 0001 0002", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.r.append(nil); !bytes.Equal(got, unhex(t, c.sent)) {
				t.Errorf("request % X, want %s", got, c.sent)
			}
			answer := unhex(t, c.answer)
			if data, err := c.r.parse(answer); err != nil || !bytes.Equal(data, unhex(t, c.data)) {
				t.Errorf("data % X, %v; want %s", data, err, c.data)
			}
			for i := range answer { // a byte too few, a byte changed
				if _, err := c.r.parse(answer[:i]); !errors.Is(err, errNonsense) {
					t.Errorf("% X: %v", answer[:i], err)
				}
				wrong := bytes.Clone(answer)
				wrong[i] ^= 0x40
				if i < 2 || c.r.writes() {
					if _, err := c.r.parse(wrong); !errors.Is(err, errNonsense) {
						t.Errorf("% X: %v", wrong, err)
					}
				}
			}
			if len(answer) != c.r.answer() {
				t.Errorf("expects %d bytes, not %d", c.r.answer(), len(answer))
			}
			var refused *ExceptionError // as in the example of chapter 7, page 47
			if _, err := c.r.parse([]byte{c.r.function | 0x80, 2}); !errors.As(err, &refused) || refused.Code != 2 {
				t.Errorf("exception: %v", err)
			}
		})
	}
}

// Frames with their CRC. The first is worked through in MODBUS over Serial Line V1.02,
// 6.2.2, page 41; the others are the examples of simplymodbus.ca for the functions 3,
// 1, 5, 6 and 16 and for an exception.
func TestFrames(t *testing.T) {
	for _, frame := range []string{
		"02 07 41 12",
		"11 03 006B 0003 7687", "11 03 06 AE41 5652 4340 49AD",
		"11 01 0013 0025 0E84", "11 05 00AC FF00 4E8B", "11 06 0001 0003 9A9B",
		"11 10 0001 0002 04 000A 0102 C6F0", "0A 81 02 B053",
	} {
		b := unhex(t, frame)
		if got := crc16(b[:len(b)-2]); got != uint16(b[len(b)-1])<<8|uint16(b[len(b)-2]) {
			t.Errorf("%s: CRC %04X", frame, got)
		}
	}
	r := request{function: readHoldingRegisters, at: 0x6B, count: 3}
	if got := appendRTU(nil, 0x11, r); !bytes.Equal(got, unhex(t, "11 03 006B 0003 7687")) {
		t.Errorf("% X", got)
	}
}

func TestSilenceOfTheStandard(t *testing.T) {
	for _, c := range []struct {
		baud, bits int
		want       time.Duration
	}{
		{9600, 11, 4010416 * time.Nanosecond}, // 3.5 × 11 / 9600 s
		{19200, 11, 2005208 * time.Nanosecond},
		{38400, 11, 1750 * time.Microsecond},
		{115200, 10, 1750 * time.Microsecond},
	} {
		if got := silence(c.baud, c.bits); got != c.want {
			t.Errorf("%d baud: %v, want %v", c.baud, got, c.want)
		}
	}
}

func TestExceptionsAreSentences(t *testing.T) {
	for code := byte(1); code < 13; code++ {
		e := &ExceptionError{Code: code, request: request{function: readInputRegisters, at: 7, count: 2}}
		want := fmt.Sprintf("the unit refuses to read input registers 7 to 8 (function 4): exception %d: ", code)
		if code == 5 || code == 11 {
			want = fmt.Sprintf("no result of the request to read input registers 7 to 8 (function 4): exception %d: ", code)
		}
		if got := e.Error(); !strings.HasPrefix(got, want) || len(got) < len(want)+10 {
			t.Error(got)
		}
	}
}

func TestAnswerIsFoundBehindNoise(t *testing.T) {
	r := request{function: readHoldingRegisters, at: 0x6B, count: 3}
	good := "11 03 06 AE41 5652 4340 49AD"
	for _, c := range []struct{ got, want string }{
		{good, "03 06 AE41 5652 4340"},
		{"00 " + good, "03 06 AE41 5652 4340"},
		{"FF FF 11 " + good, "03 06 AE41 5652 4340"}, // noise that looks like the unit
		{"12 03 06 AE41 5652 4340 49AD", ""},         // another unit
		{"11 04 06 AE41 5652 4340 49AD", ""},         // another function
		{"11 03 06 AE41 5652", ""},                   // not complete
		{"11 83 02 C134", "83 02"},
		{"11 83 02 C1", ""},
	} {
		got, err := find(unhex(t, c.got), 0x11, r)
		if err != nil || !bytes.Equal(got, unhex(t, c.want)) {
			t.Errorf("%s: % X, %v", c.got, got, err)
		}
	}
	if _, err := find(unhex(t, "11 03 06 AE41 5652 4341 49AD"), 0x11, r); !errors.Is(err, errDamaged) {
		t.Errorf("a bit changed: %v", err)
	}
}

func FuzzAnswers(f *testing.F) {
	// Good answers to reads of each kind, in both framings: whole, cut, behind another
	// unit's, and with a byte of each sort in each place of the head.
	for function := range byte(4) {
		for _, count := range []uint16{0, 7, 8, 124} {
			r := request{function: 1 + function, count: 1 + int(count)}
			pdu := append([]byte{r.function, byte(r.payload())}, make([]byte, r.payload())...)
			serial := modbustest.Frame(0x11, pdu)
			net := append([]byte{0, 1, 0, 0, 0, byte(len(pdu) + 1), 0x11}, pdu...)
			for _, whole := range [][]byte{serial, net, append(modbustest.Frame(0x12, pdu), serial...), append([]byte{0, 0, 0, 0, 0, 3, 0x11, 0x83, 2}, net...)} {
				f.Add(whole, function, count)
				for i := range min(len(whole), 10) {
					f.Add(whole[:i], function, count)
					for _, odd := range []byte{0, 1, 0x11, 0x7f, 0x80, 0xff} {
						changed := bytes.Clone(whole)
						changed[i] = odd
						f.Add(changed, function, count)
					}
				}
			}
		}
	}
	f.Add([]byte("\x11\x03\x06\xae\x41\x56\x52\x43\x40\x49\xad"), byte(3), uint16(3))
	f.Add([]byte("\x00\x01\x00\x00\x00\x03\x11\x83\x02"), byte(1), uint16(2000))
	f.Fuzz(func(t *testing.T, got []byte, function byte, count uint16) {
		r := request{function: 1 + function%4, count: 1 + int(count)%125}
		if pdu, err := find(got, 0x11, r); err == nil && pdu != nil {
			if data, err := r.parse(pdu); err == nil && len(data) != r.payload() {
				t.Errorf("%d bytes of data instead of %d", len(data), r.payload())
			}
		}
		c := &tcp{number: 1}
		if pdu, err := c.find(got, 0x11); err == nil && pdu != nil {
			r.parse(pdu)
		}
	})
}

func TestFrameOfTheTestUnitIsTheSame(t *testing.T) {
	r := request{function: readInputRegisters, at: 300, count: 20}
	if a, b := appendRTU(nil, 9, r), modbustest.Frame(9, r.append(nil)); !bytes.Equal(a, b) {
		t.Errorf("% X, % X", a, b)
	}
}
