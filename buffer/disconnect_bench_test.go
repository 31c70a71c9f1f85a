package buffer_test

import (
	"fmt"
	"testing"

	"edgegateway/buffer"
)

// BenchmarkDisconnectWhileMuchWaits is one client that leaves while the changes of
// others wait for a disk that does not answer.
func BenchmarkDisconnectWhileMuchWaits(b *testing.B) {
	for _, waiting := range []int{100, 10_000} {
		b.Run(fmt.Sprint(waiting), func(b *testing.B) {
			release := make(chan struct{})
			s, err := buffer.Open(b.TempDir()+"/store.db", buffer.DefaultConfig(), nil, buffer.WithFaults(buffer.Faults{Commit: func() error { <-release; return nil }}))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			defer close(release)
			busy, err := s.Queue("busy", buffer.Limits{})
			if err != nil {
				b.Fatal(err)
			}
			leaver, err := s.Queue("leaver", buffer.Limits{})
			if err != nil {
				b.Fatal(err)
			}
			for range waiting {
				c := s.Begin()
				if _, err := c.Append(busy, buffer.Record{Data: []byte("x"), Early: true, Urgency: buffer.Sync}); err != nil {
					b.Fatal(err)
				}
				c.Commit(func(error) {})
			}
			for b.Loop() {
				leaver.Rewind()
			}
		})
	}
}
