package buffer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"edgegateway/buffer"
)

// memory returns the anonymous and the file-backed resident memory of this process.
func memory(b *testing.B) (anon, file int64) {
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "RssAnon: %d", &anon)
		fmt.Sscanf(line, "RssFile: %d", &file)
	}
	return anon << 10, file << 10
}

// BenchmarkMillion builds a backlog of a million messages of 100 bytes, stops,
// opens it again and drains it in order. Run it with -benchtime 1x.
func BenchmarkMillion(b *testing.B) {
	const n = 1_000_000
	for range b.N {
		path := filepath.Join(b.TempDir(), "store.db")
		ctx := context.Background()
		s, err := buffer.Open(path, buffer.DefaultConfig(), nil)
		if err != nil {
			b.Fatal(err)
		}
		q := queue(b, s, "q", buffer.Limits{})
		anon0, file0 := memory(b)
		start := time.Now()
		for i := range n {
			if err := s.Admit(ctx, 150); err != nil {
				b.Fatal(err)
			}
			data := fmt.Appendf(make([]byte, 0, 100), "%0100d", i)
			c := s.Begin()
			if _, err := c.Append(q, buffer.Record{Data: data, Early: true, Urgency: buffer.Lazy}); err != nil {
				b.Fatal(err)
			}
			c.Commit(nil)
		}
		if err := s.Sync(ctx); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(n/time.Since(start).Seconds(), "fill-msgs/s")
		st := s.Stats()
		b.ReportMetric(float64(st.BytesWritten)/n, "fill-B/msg")
		b.ReportMetric(float64(st.FileSize)/n, "file-B/msg")
		anon, _ := memory(b)
		b.ReportMetric(float64(anon-anon0)/1e6, "filled-anon-MB")
		mustClose(b, s)

		start = time.Now()
		if s, err = buffer.Open(path, buffer.DefaultConfig(), nil); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "open-s")
		anon, file := memory(b)
		b.ReportMetric(float64(anon-anon0)/1e6, "opened-anon-MB")
		b.ReportMetric(float64(file-file0)/1e6, "opened-file-MB")

		q = attached(b, s, "q")
		ready := make(chan struct{}, 1)
		q.Notify(func() {
			select {
			case ready <- struct{}{}:
			default:
			}
		})
		start = time.Now()
		var most, mostFile int64
		for i := 0; i < n; {
			e, ok, err := q.Next()
			if err != nil {
				b.Fatal(err)
			}
			if !ok {
				<-ready
				continue
			}
			if want := fmt.Sprintf("%0100d", i); string(e.Data) != want {
				b.Fatalf("got %s, want %s", e.Data, want)
			}
			q.Ack(e.Seq)
			if i++; i%100_000 == 0 {
				anon, file := memory(b)
				most, mostFile = max(most, anon-anon0), max(mostFile, file-file0)
			}
		}
		if err := s.Sync(ctx); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(n/time.Since(start).Seconds(), "drain-msgs/s")
		b.ReportMetric(float64(s.Stats().BytesWritten)/n, "drain-B/msg")
		b.ReportMetric(float64(s.Stats().Fsyncs)/n, "drain-fsyncs/msg")
		b.ReportMetric(float64(most)/1e6, "drain-anon-MB")
		b.ReportMetric(float64(mostFile)/1e6, "drain-file-MB")
		mustClose(b, s)
	}
}
