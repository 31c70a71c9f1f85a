package field

import (
	"testing"
	"time"
)

func TestDevicesThatAreOpenedTogetherAreSampledApart(t *testing.T) {
	for _, every := range []time.Duration{10 * time.Millisecond, time.Second, time.Hour} {
		most := min(every, time.Second)
		for _, devices := range []int{2, 3, 8, 20, 101} {
			at := make(map[time.Duration]int)
			for i := range devices {
				at[phaseOf(i, every)]++
			}
			if at[0] == 0 || len(at) != min(devices, moments) {
				t.Errorf("%d devices, every %v: %v", devices, every, at)
			}
			for phase, n := range at {
				if phase < 0 || phase >= most || phase%(most/moments) != 0 || n > devices/moments+1 {
					t.Errorf("%d devices, every %v: %d of them at %v", devices, every, n, phase)
				}
			}
		}
	}
}
