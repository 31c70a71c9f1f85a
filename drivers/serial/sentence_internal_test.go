package serial

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What a sentence says can be; and however its bytes arrive, it is the same one.
func FuzzSentences(f *testing.F) {
	// Each field in turn is what a machine reads otherwise than a person, or too long, or
	// missing with all that follow: so a test without the fuzzer goes through all of them.
	for _, sentence := range []string{
		"GPRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,A",
		"GPGGA,092725.00,4717.11399,N,00833.91590,E,1,08,1.01,499.6,M,48.0,M,,",
		"GPGSA,A,3,23,,,,,,,,,,,,1.94,1.18,1.54",
		"GPVTG,77.52,T,,M,0.004,N,0.008,K,A",
	} {
		f.Add(sentence, uint8(3))
		fields := strings.Split(sentence, ",")
		for i := range fields {
			f.Add(strings.Join(fields[:i], ","), uint8(3))
			for _, odd := range []string{"", "-1", "+1", "1e19", "-9e99", "1e300", "1e-300", "1e999", "NaN", "Inf", "0x1p4", "1_0", ".", "-", "9", "999999", "99999999999999999999", "4760.0", "246000.00", "320299", "é", "\x00"} {
				changed := slices.Clone(fields)
				changed[i] = odd
				f.Add(strings.Join(changed, ","), uint8(3))
			}
		}
	}
	f.Add("GPVTG,-5,T,,M,1e300,N,,K", uint8(0))
	f.Add("GPGGA,1,4717.1,N,00833.9,E,1,1,1,1e9,M", uint8(0))
	limits := map[string][2]float64{
		"latitude": {-90, 90}, "longitude": {-180, 180}, "altitude": {lowest, highest}, "speed": {0, fastest}, "course": {0, 360}, "hdop": {0, mostDOP}, "pdop": {0, mostDOP},
	}
	f.Fuzz(func(t *testing.T, text string, piece uint8) {
		var sum byte
		for _, c := range []byte(text) {
			sum ^= c
		}
		s, err := parseSentence(fmt.Appendf(nil, "$%s*%02X", text, sum))
		for _, v := range s.values {
			x, ok := v.V.(float64)
			if between, known := limits[v.Channel]; ok && !(known && x >= between[0] && x <= between[1]) || err != nil {
				t.Errorf("%q: %v, %v", text, v, err)
			}
		}
		lines := func(size int) (all []string) {
			split := splitter{most: longestSentence}
			for chunk := range slices.Chunk([]byte(text+"\r\n"), size) {
				split.feed(chunk, func(line []byte, err error) { all = append(all, fmt.Sprintf("%q %v", line, err)) })
			}
			return all
		}
		if whole, pieces := lines(len(text)+2), lines(1+int(piece)); !slices.Equal(whole, pieces) {
			t.Errorf("in pieces of %d: %q, whole: %q", 1+int(piece), pieces, whole)
		}
	})
}
