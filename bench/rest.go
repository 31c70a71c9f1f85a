package bench

import (
	"syscall"
	"time"
)

// A broker that writes each packet by itself wakes its readers for each. They
// would work harder than the broker then, and on a machine of two processors
// take one away from it. So whoever read next to nothing rests for a moment
// while more arrives: only under full load with many messages under way, where
// they wait for longer anyway, and never at a given rate.
const (
	restAfter = 16                    // packets in one read
	restFor   = 50 * time.Microsecond // the kernel adds its timer slack of as much
	restAbove = 50                    // messages under way
)

// rest sleeps in the kernel: Go's own timers have a grain of 1 ms when nothing
// else runs.
func rest() {
	t := syscall.NsecToTimespec(int64(restFor))
	syscall.Nanosleep(&t, nil) // an early return does no harm
}
