package broker

import (
	"math"
	"testing"
)

// One a second for a minute, then nothing for five: each average goes towards 60 and
// back as far as its window says, whatever the steps are.
func TestLoadIsAMovingAverage(t *testing.T) {
	for _, steps := range []int{1, 6, 60} { // in a minute
		var s sysTopics
		var st Stats
		for range steps {
			st.PublishReceived += int64(60 / steps)
			s.smooth(st, 1/float64(steps))
		}
		check := func(about string, after func(window float64) float64) {
			t.Helper()
			for i, f := range loadFigures {
				for j, window := range loadWindows {
					want := 0.0
					if f.name == "publish/received" {
						want = after(window)
					}
					if got := s.load[i][j]; math.Abs(got-want) > 1e-9 {
						t.Errorf("%s, %d steps a minute: %s over %v min is %v, want %v", about, steps, f.name, window, got, want)
					}
				}
			}
		}
		check("after a minute", func(window float64) float64 { return 60 * (1 - math.Exp(-1/window)) })
		for range 5 * steps {
			s.smooth(st, 1/float64(steps))
		}
		check("after five more", func(window float64) float64 { return 60 * (1 - math.Exp(-1/window)) * math.Exp(-5/window) })
	}
}
