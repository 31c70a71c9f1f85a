package buffer_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"edgegateway/buffer"
)

var megabytesFlag = flag.Int("megabytes", 20, "size of the file of BenchmarkCheck and BenchmarkSalvage")

// largeFile is a store with one long queue.
func largeFile(b *testing.B) (path string, size int64) {
	path = filepath.Join(inMemory(b), "store.db")
	cfg := fast()
	cfg.MaxSize = 400 << 20
	s, err := buffer.Open(path, cfg, nil)
	if err != nil {
		b.Fatal(err)
	}
	q := queue(b, s, "q", buffer.Limits{})
	data := make([]byte, 150)
	for range *megabytesFlag << 20 / 190 / 2000 {
		do(b, s, func(c *buffer.Change) {
			for range 2000 {
				add(b, c, q, buffer.Record{Data: data, Urgency: buffer.Sync})
			}
		})
	}
	mustClose(b, s)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return path, info.Size()
}

func BenchmarkCheck(b *testing.B) {
	path, size := largeFile(b)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if err := buffer.Check(path); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSalvage takes the page away that leads to all others of the queue.
func BenchmarkSalvage(b *testing.B) {
	path, size := largeFile(b)
	content, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	for id, kind := range livePages(content) {
		if kind == "branch" {
			clear(content[id*page : (id+1)*page])
		}
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		kept, err := buffer.Salvage(path, path+".kept")
		if err != nil || kept.Queues[0].Lost > 0 {
			b.Fatal(kept, err)
		}
	}
}
