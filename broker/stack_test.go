//go:build !race

package broker_test

import (
	"runtime"
	"testing"
)

// A goroutine begins with 2 KiB, and has 4 once it has handled a packet. (The race
// detector makes all frames larger.)
func TestAnIdleConnectionWaitsOnASmallStack(t *testing.T) {
	h := open(t, t.TempDir(), config())
	dialIdle(t, h.addr, 0, 100)
	stacks := func() uint64 {
		inUse()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.StackInuse
	}
	const n = 400
	before := stacks()
	dialIdle(t, h.addr, 100, n)
	if each := (int64(stacks()) - int64(before)) / n; each > 3<<10 {
		t.Errorf("an idle connection has %d bytes of stack, want about 2048", each)
	}
}
