package buffer_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"edgegateway/buffer"
)

// report adds what a message cost.
func report(b *testing.B, before, after buffer.Stats) {
	n := float64(b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "msgs/s")
	b.ReportMetric(float64(after.BytesWritten-before.BytesWritten)/n, "written-B/msg")
	b.ReportMetric(float64(after.Fsyncs-before.Fsyncs)/n, "fsyncs/msg")
}

// BenchmarkAppendCommitAck is a queue whose receiver is behind by one commit: every
// entry is written, handed out and removed again.
func BenchmarkAppendCommitAck(b *testing.B) {
	cfg := buffer.DefaultConfig()
	s, err := buffer.Open(filepath.Join(b.TempDir(), "store.db"), cfg, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	q := attached(b, s, "q")
	ready := make(chan struct{}, 1)
	q.Notify(func() {
		select {
		case ready <- struct{}{}:
		default:
		}
	})
	data := make([]byte, 100)
	before := s.Stats()
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range b.N {
			if err := s.Admit(context.Background(), len(data)); err != nil {
				b.Error(err)
				return
			}
			c := s.Begin()
			if _, err := c.Append(q, buffer.Record{Data: data, Urgency: buffer.Sync}); err != nil {
				b.Error(err)
				return
			}
			c.Commit(nil)
		}
	}()
	for n := 0; n < b.N; {
		e, ok, err := q.Next()
		if err != nil {
			b.Fatal(err)
		}
		if !ok {
			<-ready
			continue
		}
		q.Ack(e.Seq)
		n++
	}
	if err := s.Sync(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	report(b, before, s.Stats())
}

// BenchmarkAppend is the cost for the one who appends; the acknowledgement comes
// before the commit, so nothing is written.
func BenchmarkAppendAck(b *testing.B) {
	cfg := buffer.DefaultConfig()
	cfg.Sync = time.Minute
	s, err := buffer.Open(filepath.Join(b.TempDir(), "store.db"), cfg, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	q := attached(b, s, "q")
	data := make([]byte, 100)
	done := func(error) {}
	before := s.Stats()
	b.ReportAllocs()
	for b.Loop() {
		c := s.Begin()
		seq, err := c.Append(q, buffer.Record{Data: data, Early: true, Urgency: buffer.Sync})
		if err != nil {
			b.Fatal(err)
		}
		c.Commit(done)
		q.Next()
		if !q.Ack(seq) {
			b.Fatal("not there")
		}
	}
	report(b, before, s.Stats())
}

// BenchmarkBacklog appends to a queue whose receiver is away, at a pace: the rate
// is simulated by the number of messages per commit.
func BenchmarkBacklog(b *testing.B) {
	for _, c := range []struct {
		name string
		per  int
	}{{"1", 1}, {"10", 10}, {"100", 100}, {"1000", 1000}} {
		b.Run("perCommit="+c.name, func(b *testing.B) {
			cfg := buffer.DefaultConfig()
			cfg.Sync = time.Minute
			s, err := buffer.Open(filepath.Join(b.TempDir(), "store.db"), cfg, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			q := queue(b, s, "q", buffer.Limits{})
			if err := s.Sync(context.Background()); err != nil {
				b.Fatal(err)
			}
			data := make([]byte, 100)
			before := s.Stats()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				c1 := s.Begin()
				if _, err := c1.Append(q, buffer.Record{Data: data, Early: true, Urgency: buffer.Lazy}); err != nil {
					b.Fatal(err)
				}
				c1.Commit(nil)
				if i%c.per == c.per-1 {
					if err := s.Sync(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.StopTimer()
			report(b, before, s.Stats())
		})
	}
}

// BenchmarkManyNewPairs writes new pairs in one commit, as after a minute of new
// retained messages. The time for each must not grow with their number.
func BenchmarkManyNewPairs(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				s := open(b, filepath.Join(b.TempDir(), "store.db"), patient())
				c := s.Begin()
				for i := range n {
					c.Put(s.Table("t"), fmt.Appendf(nil, "t/%d", i), make([]byte, 40), buffer.Idle)
				}
				c.Commit(nil)
				b.StartTimer()
				if err := s.Sync(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				mustClose(b, s)
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/pair")
		})
	}
}
