package serial

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"edgegateway/drivers"
)

// A sentence is what a line of NMEA 0183 says.
type sentence struct {
	epoch  string          // its time of day, as it is written; "" = it has none
	values []drivers.Value // nil: there is none without a fix
}

// parseSentence reads RMC, GGA, VTG and GSA of any talker (GP, GL, GA, GB, GN...),
// and finds nothing in other sentences. Empty fields are values that the receiver
// does not have now.
func parseSentence(line []byte) (s sentence, err error) {
	// What stands before the last $ is the rest of a sentence that was cut.
	begin := bytes.LastIndexByte(line, '$')
	star := bytes.LastIndexByte(line, '*')
	if begin < 0 && bytes.IndexByte(line, '!') == 0 {
		return s, nil // encapsulated, as AIS: not for us
	}
	if begin < 0 || star < begin || len(line) < star+3 {
		return s, fmt.Errorf("a line is no sentence with a checksum; is the baud rate right? %s", excerpt(line))
	}
	var sum byte
	for _, c := range line[begin+1 : star] {
		sum ^= c
	}
	if told, err := hex.DecodeString(string(line[star+1 : star+3])); err != nil || told[0] != sum {
		return s, fmt.Errorf("a sentence has the wrong checksum, %s instead of %02X: %s", line[star+1:star+3], sum, excerpt(line))
	}
	f := fields(strings.Split(string(line[begin+1:star]), ","))
	address := f.at(0)
	if len(address) != 5 || address[0] == 'P' { // P: a maker's own
		return s, nil
	}
	p := sentenceParser{fields: f}
	switch address[2:] {
	case "RMC":
		p.rmc()
	case "GGA":
		p.gga()
	case "VTG":
		p.vtg()
	case "GSA":
		p.gsa()
	}
	if p.err != nil {
		return s, fmt.Errorf("%w: %s", p.err, excerpt(line))
	}
	return p.sentence, nil
}

type fields []string

func (f fields) at(i int) string {
	if i >= len(f) {
		return "" // older versions have fewer
	}
	return f[i]
}

// A sentenceParser collects values until something is wrong.
type sentenceParser struct {
	fields
	sentence
	err error
}

func (p *sentenceParser) add(channel string, v any) {
	p.values = append(p.values, drivers.Value{Channel: channel, V: v})
}

// none adds what the sentence would say if there was a fix.
func (p *sentenceParser) none(channels ...string) {
	for _, c := range channels {
		p.add(c, nil)
	}
}

// number reads a field; ok is false if it is empty or wrong.
func (p *sentenceParser) number(i int) (f float64, ok bool) {
	text := p.at(i)
	if text == "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		p.fail("field %d is %q and not a number", i, text)
		return 0, false
	}
	return f, true
}

// whole reads a field of digits, as 08; ok is false if it is empty or wrong.
func (p *sentenceParser) whole(i int) (n int64, ok bool) {
	text := p.at(i)
	if text == "" {
		return 0, false
	}
	u, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		p.fail("field %d is %q and not a whole number", i, text)
		return 0, false
	}
	return int64(u), true
}

func (p *sentenceParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("a sentence can not be read: "+format, args...)
	}
}

// take adds a number between low and high, with an offset-free factor and rounded.
func (p *sentenceParser) take(i int, channel string, low, high, factor float64, places int) {
	f, ok := p.number(i)
	switch {
	case !ok:
	case f < low || f > high: // one damaged sentence of 256 has the right checksum
		p.fail("field %d is %q, which can not be the %s", i, p.at(i), channel)
	default:
		p.add(channel, drivers.Round(f*factor, places))
	}
}

// What can be: any speed of a satellite, any height from the deepest mine to its orbit.
const (
	fastest, lowest, highest = 1e5, -1e4, 1e8
	mostDOP                  = 1e5 // receivers say 99.99 or 9999 for none
)

const (
	knot = 1852.0 / 3600 // m/s
	kmh  = 1000.0 / 3600
)

// position reads latitude, N or S, longitude, E or W, from field i on.
func (p *sentenceParser) position(i int) {
	if p.at(i) == "" || p.at(i+2) == "" {
		return
	}
	p.angle(i, "latitude", 90, "N", "S")
	p.angle(i+2, "longitude", 180, "E", "W")
}

// angle reads dddmm.mmmm and its direction.
func (p *sentenceParser) angle(i int, channel string, most float64, positive, negative string) {
	f, ok := p.number(i)
	if !ok {
		return
	}
	degrees := math.Floor(f / 100)
	minutes := f - 100*degrees
	angle := degrees + minutes/60
	if f < 0 || minutes >= 60 || angle > most {
		p.fail("field %d is %q and not a %s", i, p.at(i), channel)
		return
	}
	switch p.at(i + 1) {
	case positive:
	case negative:
		angle = -angle
	default:
		p.fail("field %d is %q and not %s or %s", i+1, p.at(i+1), positive, negative)
		return
	}
	p.add(channel, drivers.Round(angle, 7)) // a centimetre
}

// rmc: time, A or V, latitude, N, longitude, E, knots, course, date.
func (p *sentenceParser) rmc() {
	p.epoch = p.at(1)
	valid := p.at(2) == "A"
	p.add("valid", valid)
	if !valid {
		p.none("latitude", "longitude", "speed", "course", "time")
		return
	}
	p.position(3)
	p.take(7, "speed", 0, fastest, knot, 3)
	p.take(8, "course", 0, 360, 1, 2)
	if p.at(1) != "" && p.at(9) != "" {
		if at, err := moment(p.at(9), p.at(1)); err != nil {
			p.fail("%v", err)
		} else {
			p.add("time", at.Format("2006-01-02T15:04:05.000Z"))
		}
	}
}

// gga: time, latitude, N, longitude, E, quality, satellites, HDOP, altitude, M.
func (p *sentenceParser) gga() {
	p.epoch = p.at(1)
	qualities := []string{"none", "gps", "dgps", "pps", "rtk", "float-rtk", "estimated", "manual", "simulator"}
	quality, ok := p.whole(6)
	if !ok {
		return
	}
	if quality >= int64(len(qualities)) {
		p.fail("the quality is %d", quality)
		return
	}
	p.add("valid", quality >= 1)
	p.add("fix_quality", qualities[quality])
	if n, ok := p.whole(7); ok {
		p.add("satellites", n)
	}
	if quality < 1 {
		p.none("latitude", "longitude", "hdop", "altitude") // HDOP is written as 99.99, or so
		return
	}
	p.position(2)
	p.take(8, "hdop", 0, mostDOP, 1, 2)
	p.take(9, "altitude", lowest, highest, 1, 2)
}

// vtg: course, T, magnetic course, M, knots, N, km/h, K.
func (p *sentenceParser) vtg() {
	p.take(1, "course", 0, 360, 1, 2)
	if p.at(5) != "" {
		p.take(5, "speed", 0, fastest, knot, 3)
	} else {
		p.take(7, "speed", 0, fastest, kmh, 3)
	}
}

// gsa: M or A, fix, twelve satellites, PDOP, HDOP, VDOP.
func (p *sentenceParser) gsa() {
	fix, ok := p.whole(2)
	switch {
	case !ok:
	case fix == 1:
		p.add("fix", "none")
		p.none("pdop")
	case fix == 2, fix == 3:
		p.add("fix", fmt.Sprintf("%dd", fix))
		p.take(15, "pdop", 0, mostDOP, 1, 2)
	default:
		p.fail("the fix is %d", fix)
	}
}

// moment reads ddmmyy and hhmmss.sss. Years before 80 are in this century: GPS began
// in 1980.
func moment(date, clock string) (time.Time, error) {
	at, err := time.Parse("020106 150405", date+" "+clock) // also reads a fraction
	if err != nil {
		return at, errors.New(date + " " + clock + " is no date and time")
	}
	if at.Year() < 1980 {
		at = at.AddDate(100, 0, 0)
	}
	return at, nil
}
