package buffer_test

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edgegateway/buffer"
)

// TestProducersAndConsumersAtOnce has producers that append to all queues in one
// order, as a broker does under its lock, and consumers that come and go. Every
// record arrives, in order, and every Change is answered once.
func TestProducersAndConsumersAtOnce(t *testing.T) {
	const producers, each = 3, 1500
	cfg := fast()
	cfg.Sync, cfg.Lazy, cfg.Memory = time.Millisecond, 5*time.Millisecond, 256<<10
	s := open(t, filepath.Join(t.TempDir(), "store.db"), cfg, buffer.WithWindow(50))
	queues := []*buffer.Queue{attached(t, s, "a"), attached(t, s, "b"), buffer.NewVolatile(buffer.Limits{}, nil)}

	var (
		order    sync.Mutex
		number   uint64
		answered atomic.Int64
		failed   atomic.Int64
		work     sync.WaitGroup
	)
	wakes := make([]chan struct{}, len(queues))
	for i := range queues {
		wakes[i] = make(chan struct{}, 1)
		queues[i].Notify(func() { wake(wakes[i]) })
	}
	for p := range producers {
		work.Go(func() {
			for i := range each {
				if err := s.Admit(context.Background(), 100); err != nil {
					t.Error(err)
					return
				}
				order.Lock()
				number++
				data := binary.BigEndian.AppendUint64(make([]byte, 0, 64), number)
				c := s.Begin()
				for _, q := range queues {
					r := buffer.Record{Data: data, Early: i%5 > 0, Urgency: buffer.Urgency(1 + i%2)}
					if _, err := c.Append(q, r); err != nil {
						t.Error(err)
					}
				}
				c.Put(s.Table("t"), []byte{byte(p)}, data, buffer.Urgency(i%3))
				c.Commit(func(err error) {
					order.Lock() // callers hold this one during Commit
					defer order.Unlock()
					if answered.Add(1); err != nil {
						failed.Add(1)
					}
				})
				for _, w := range wakes {
					wake(w)
				}
				order.Unlock()
			}
		})
	}
	for i, q := range queues {
		work.Go(func() {
			var expect uint64 = 1
			held := make(map[uint64]uint64) // handed out, not acknowledged: number to sequence
			for step := 0; expect <= producers*each || len(held) > 0; step++ {
				e, ok, err := q.Next()
				if err != nil {
					t.Error(err)
					return
				}
				if !ok {
					for n, seq := range held {
						if !q.Ack(seq) {
							t.Errorf("%d is unknown", n)
						}
						delete(held, n)
					}
					if expect <= producers*each {
						<-wakes[i]
					}
					continue
				}
				n := binary.BigEndian.Uint64(e.Data)
				if _, known := held[n]; known != e.Again || !known && n != expect {
					t.Errorf("queue %d: got %d (again %v), want %d", i, n, e.Again, expect)
					return
				}
				if held[n] = e.Seq; n == expect {
					expect++
				}
				switch {
				case step%3 == 0:
					q.Ack(e.Seq)
					delete(held, n)
				case step%97 == 0: // the connection ends
					q.Rewind()
					c := s.Begin()
					c.Detach(q, buffer.Lazy)
					c.Commit(nil)
					c = s.Begin()
					c.Attach(q, buffer.Lazy)
					c.Commit(nil)
				case len(held) > 40:
					for n, seq := range held {
						q.Ack(seq)
						delete(held, n)
					}
				}
			}
		})
	}
	work.Wait()
	if err := s.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if answered.Load() != producers*each || failed.Load() != 0 {
		t.Errorf("%d of %d changes answered, %d with an error", answered.Load(), producers*each, failed.Load())
	}
	for i, q := range queues {
		if st := q.Stats(); st.Messages != 0 || st.InFlight != 0 {
			t.Errorf("queue %d: %+v", i, st)
		}
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
