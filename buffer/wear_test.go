package buffer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/buffer"
	"edgegateway/internal/need"
)

// TestWear is what a message costs the disk at common rates, with
// records of 155 bytes, which is a payload of 100 with a topic of 40. The time is that
// of a bubble, so the figures do not depend on the machine.
func TestWear(t *testing.T) {
	for _, c := range []struct {
		name      string
		every     time.Duration
		burst     int
		urgency   buffer.Urgency
		sync      time.Duration
		delivered bool // acknowledged within 100 ms; else the receiver is away
		bytes     float64
		fsyncs    float64
	}{
		{"link up, readings", 10 * time.Millisecond, 1, buffer.Lazy, 50 * time.Millisecond, true, 0, 0},
		{"link up, publishers", 10 * time.Millisecond, 1, buffer.Sync, 50 * time.Millisecond, true, 0, 0},
		{"link down, 100 readings per second", 10 * time.Millisecond, 1, buffer.Lazy, 50 * time.Millisecond, false, 300, 0.01},
		{"link down, 10 readings per second", 100 * time.Millisecond, 1, buffer.Lazy, 50 * time.Millisecond, false, 700, 0.05},
		{"link down, publishers at 100 per second, sync 1s", 10 * time.Millisecond, 1, buffer.Sync, time.Second, false, 450, 0.03},
		{"link down, publishers at 100 per second, sync 50ms", 10 * time.Millisecond, 1, buffer.Sync, 50 * time.Millisecond, false, 6000, 0.5},
		{"link down, bursts of 10,000", time.Minute, 10_000, buffer.Sync, 50 * time.Millisecond, false, 205, 0.001},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			synctest.Test(t, func(t *testing.T) {
				cfg := timed()
				cfg.Sync, cfg.MaxSize = c.sync, 256<<20
				s, err := buffer.Open(path, cfg, quiet(t))
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				q := queue(t, s, "q", buffer.Limits{})
				do(t, s, func(ch *buffer.Change) {
					if c.delivered {
						ch.Attach(q, buffer.Sync)
					}
				})
				data := make([]byte, 155)
				type sent struct {
					seq uint64
					due time.Time
				}
				var flight []sent
				ack := func() {
					for len(flight) > 0 && !time.Now().Before(flight[0].due) {
						q.Ack(flight[0].seq)
						flight = flight[1:]
					}
				}
				run := func(d time.Duration) (n int) {
					for range int(d / c.every) {
						for range c.burst {
							ch := s.Begin()
							if _, err := ch.Append(q, buffer.Record{Data: data, Early: true, Urgency: c.urgency}); err != nil {
								t.Fatal(err)
							}
							ch.Commit(nil)
							n++
						}
						for {
							e, ok, err := q.Next()
							if err != nil {
								t.Fatal(err)
							}
							if !ok {
								break
							}
							flight = append(flight, sent{e.Seq, time.Now().Add(100 * time.Millisecond)})
						}
						time.Sleep(c.every)
						ack()
					}
					return n
				}
				run(time.Minute) // until the store knows its receiver
				synctest.Wait()
				before := s.Stats()
				n := float64(run(3 * time.Minute))
				time.Sleep(100 * time.Millisecond)
				ack()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				after := s.Stats()
				bytes := float64(after.BytesWritten-before.BytesWritten) / n
				fsyncs := float64(after.Fsyncs-before.Fsyncs) / n
				t.Logf("%.0f messages: %.0f bytes and %.4f fsyncs each", n, bytes, fsyncs)
				if bytes > c.bytes || fsyncs > c.fsyncs {
					t.Errorf("more than %.0f bytes or %.4f fsyncs", c.bytes, c.fsyncs)
				}
			})
		})
	}
}

// TestTheCounterOfBytesIsHonest compares it with what the system counted.
func TestTheCounterOfBytesIsHonest(t *testing.T) {
	written := func() (n int64) {
		b, err := os.ReadFile("/proc/self/io")
		need.Met(t, err)
		for line := range strings.Lines(string(b)) {
			fmt.Sscanf(line, "wchar: %d", &n)
		}
		return n
	}
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
	q := attached(t, s, "q")
	before, system := s.Stats(), written()
	for range 200 {
		do(t, s, func(c *buffer.Change) {
			for range 7 {
				add(t, c, q, early("some text"))
			}
		})
		q.Ack(next(t, s, q).Seq)
	}
	got, want := s.Stats().BytesWritten-before.BytesWritten, written()-system
	if got < want*95/100 || got > want*105/100 {
		t.Errorf("counted %d bytes, the system %d", got, want)
	}
}
