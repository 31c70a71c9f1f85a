package ptytest

import (
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"
)

// Flood writes garbage, and the good parts in between, as fast as the line takes it,
// until stop is called or the test ends.
func Flood(t testing.TB, far *os.File, good ...string) (stop func()) {
	quit := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		noise := rand.New(rand.NewPCG(1, 2))
		garbage := make([]byte, 997)
		for {
			for i := range garbage {
				garbage[i] = byte(noise.Uint32())
			}
			for _, text := range append([]string{string(garbage)}, good...) {
				select {
				case <-quit:
					return
				default:
				}
				if _, err := far.WriteString(text); err != nil {
					return
				}
			}
		}
	})
	stop = sync.OnceFunc(func() {
		close(quit)
		far.SetWriteDeadline(time.Now()) // nobody may be reading any more
		writing.Wait()
		far.SetWriteDeadline(time.Time{})
	})
	t.Cleanup(stop)
	return stop
}
