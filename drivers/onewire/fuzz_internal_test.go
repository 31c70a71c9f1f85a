package onewire

import (
	"math"
	"strings"
	"testing"
)

// What a thermometer answers is a temperature that it can measure, or refused.
func FuzzScratchpad(f *testing.F) {
	f.Add("50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000")
	f.Add("73 01 4b 46 7f ff 0d 10 41 : crc=41 YES\n73 01 4b 46 7f ff 0d 10 41 t=23187")
	f.Add("00 00 00 00 00 00 00 00 00 : crc=00 YES")
	f.Add("ff ff ff ff ff ff ff ff ff : crc=c9 NO")
	f.Add("01 f0 07 46 ff ff 00 00 aa : crc=aa YES")
	f.Fuzz(func(t *testing.T, text string) {
		pad, err := parse(text)
		if err != nil {
			if s := err.Error(); s == "" || strings.ContainsAny(s, "\n\x00") || len(s) > 400 {
				t.Errorf("%q: %q", text, s)
			}
			// A checksum is hard to guess: what is behind it has to take anything.
			copy(pad[:], text)
		}
		for _, family := range []byte{ds18s20, ds1822, ds18b20, ds1825, ds28ea00} {
			pad.fresh(family)
			celsius, err := pad.celsius(family)
			if err == nil && !(celsius >= -270 && celsius <= 1768) || err != nil && err.Error() == "" || math.IsNaN(celsius) {
				t.Errorf("% x of the family %02x: %v °C, %v", pad, family, celsius, err)
			}
		}
	})
}
