package serial

import (
	"fmt"
	"math"
	"testing"
)

func FuzzSentences(f *testing.F) {
	f.Add("GPRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,A")
	f.Add("GPGGA,092725.00,4717.11399,N,00833.91590,E,1,08,1.01,499.6,M,48.0,M,,")
	f.Add("GPGSA,A,3,23,,,,,,,,,,,,1.94,1.18,1.54")
	f.Add("GPGGA,092725.00,4717.11399,N,00833.91590,E,1e19,08,1.01,499.6,M,48.0,M,,")
	f.Add("GPGGA,092725.00,4717.11399,N,00833.91590,E,1,1e300,1.01,499.6,M,48.0,M,,")
	f.Add("GPGSA,A,-9e99,23,,,,,,,,,,,,1.94,1.18,1.54")
	f.Fuzz(func(t *testing.T, text string) {
		var sum byte
		for _, c := range []byte(text) {
			sum ^= c
		}
		s, err := parseSentence(fmt.Appendf(nil, "$%s*%02X", text, sum))
		for _, v := range s.values {
			if x, ok := v.V.(float64); ok && (math.IsNaN(x) || math.IsInf(x, 0)) || err != nil {
				t.Errorf("%q: %v, %v", text, v, err)
			}
		}
	})
}
