package field

import (
	"slices"
	"testing"
	"time"
)

func TestDevicesThatAreOpenedTogetherAreSampledApart(t *testing.T) {
	for _, every := range []time.Duration{10 * time.Millisecond, time.Second, time.Hour} {
		most := min(every, time.Second)
		for _, devices := range []int{2, 3, 8, 20, 100} {
			var phases []time.Duration
			for i := range devices {
				phases = append(phases, phaseOf(i, every))
			}
			slices.Sort(phases)
			if phases[0] != 0 || phases[devices-1] >= most {
				t.Fatalf("%d devices, every %v: from %v to %v", devices, every, phases[0], phases[devices-1])
			}
			phases = append(phases, most) // the first one of the next interval
			for i := range devices {
				if gap := phases[i+1] - phases[i]; gap < most/time.Duration(2*devices) {
					t.Errorf("%d devices, every %v: two are %v apart", devices, every, gap)
				}
			}
		}
	}
}
