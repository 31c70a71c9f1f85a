package main

import "golang.org/x/sys/unix"

// largestError is the error of the clock at which the kernel gives up on it:
// NTP_PHASE_LIMIT of linux/timex.h, in microseconds.
const largestError = 16_000_000

// clockSynced asks the kernel (adjtimex(2)). STA_UNSYNC may also be set to keep the
// kernel from writing the battery clock, so the estimated error decides as well. Where
// the question is not allowed, the clock is believed.
func clockSynced() bool {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return true
	}
	return t.Status&unix.STA_UNSYNC == 0 || t.Maxerror < largestError
}
