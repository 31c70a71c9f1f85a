package onewire

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Family codes of the thermometers: linux: drivers/w1/slaves/w1_therm.c.
const (
	ds18s20  = 0x10
	ds1822   = 0x22
	ds18b20  = 0x28
	ds1825   = 0x3b // and MAX31850
	ds28ea00 = 0x42
)

// A scratchpad is what a thermometer answers: DS18B20 datasheet (19-7487 rev 6),
// figure 9. The last byte is a checksum of the others.
type scratchpad [9]byte

var (
	errSilent   = errors.New("nothing answers")
	errChecksum = errors.New("the checksum is wrong")
	errShorted  = errors.New("the data wire is at 0 V; look for a short to ground")
)

// parse reads an answer out of the text of w1_slave, "50 05 4b 46 7f ff 0c 10 1c :
// crc=1c YES" and a second line (Documentation/w1/slaves/w1_therm.rst).
func parse(text string) (pad scratchpad, err error) {
	if text == "" {
		// So Linux since 5.8 says everything that went wrong: no presence pulse, five
		// wrong checksums, a wait that was interrupted (w1_therm.c, w1_slave_show).
		return pad, errSilent
	}
	// The second line shows the last good answer beside a new temperature, and belongs
	// to nothing when the checksum is wrong.
	line, _, _ := strings.Cut(text, "\n")
	data, verdict, ok := strings.Cut(line, " : crc=")
	raw, err := hex.DecodeString(strings.ReplaceAll(data, " ", ""))
	if !ok || err != nil || len(raw) != len(pad) {
		return pad, fmt.Errorf("the kernel gives %.60q, which is not the answer of a thermometer", text)
	}
	pad = scratchpad(raw)
	switch {
	case pad == scratchpad{}:
		return pad, errShorted // eight zeros have the checksum zero, and the kernel says YES
	case strings.Trim(data, "f ") == "":
		return pad, errSilent // the pull-up resistor answers
	case !strings.HasSuffix(verdict, " YES"), crc(pad[:]) != 0:
		return pad, errChecksum
	}
	return pad, nil
}

// crc is the CRC-8 of 1-wire, x⁸+x⁵+x⁴+1, lowest bit first: DS18B20 datasheet, figure 11;
// Maxim application note 27. Over data and its checksum it is 0.
func crc(data []byte) (c byte) {
	for _, b := range data {
		c ^= b
		for range 8 {
			if c&1 == 1 {
				c = c>>1 ^ 0x8c
			} else {
				c >>= 1
			}
		}
	}
	return c
}

// raw is the temperature register.
func (p scratchpad) raw() int16 { return int16(uint16(p[0]) | uint16(p[1])<<8) }

// celsius is the measured temperature.
func (p scratchpad) celsius(family byte) (float64, error) {
	low, high := -55.0, 125.0
	var t float64
	switch {
	case family == ds18s20:
		t = p.halves()
	case family == ds1825 && p[4]&0x80 != 0: // a MAX31850: its configuration begins with 1111
		if p[0]&1 != 0 {
			return 0, fmt.Errorf("the thermocouple is %s", p.broken())
		}
		low, high = -270, 1768
		t = float64(p.raw()&^3) / 16
	default:
		// With 9, 10 or 11 bits the lowest ones are undefined (table 1). R1 and R0 of
		// the configuration say how many there are (table 2).
		undefined := int16(1)<<(3-p[4]>>5&3) - 1
		t = float64(p.raw()&^undefined) / 16
	}
	if t < low || t > high {
		// 127.94 °C is what a DS18B20 gives when its supply broke down meanwhile.
		return 0, fmt.Errorf("%v °C is outside %v to %v °C, so the measurement failed; check the supply at the sensor", t, low, high)
	}
	return t, nil
}

// halves is the temperature of a DS18S20 with all that it knows: its register has half
// degrees, and two more bytes say how far it was from the next one (DS18S20 datasheet,
// 19-5474 rev 3, "Operation: Measuring Temperature").
func (p scratchpad) halves() float64 {
	remain, perDegree := float64(p[6]), float64(p[7])
	if perDegree == 0 || remain > perDegree {
		return float64(p.raw()) / 2
	}
	return float64(p.raw()>>1) - 0.25 + (perDegree-remain)/perDegree
}

// broken says what a MAX31850 found: its datasheet (19-6725 rev 0), table 2.
func (p scratchpad) broken() string {
	switch {
	case p[2]&1 != 0:
		return "open"
	case p[2]&2 != 0:
		return "shorted to ground"
	case p[2]&4 != 0:
		return "shorted to the supply"
	}
	return "faulty"
}

// fresh tells whether the answer can be that of a thermometer that has just been
// switched on and has not measured: 85 °C, with 0x0c in byte 6. The datasheet calls that
// byte reserved. In a genuine DS18B20 that has measured it is 16 less the sixteenths of
// the temperature, so 0x10 at 85 °C; w1_therm.c makes the same difference (features,
// W1_THERM_CHECK_RESULT). A DS18S20, and clones with a constant byte 6, also measure
// what looks like this.
func (p scratchpad) fresh(family byte) bool {
	if family == ds18s20 {
		return p.raw() == 85*2 && p[6] == 0x0c
	}
	return p.raw() == 85*16 && p[6] == 0x0c
}
