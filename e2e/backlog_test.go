package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edgegateway/internal/need"
)

var (
	backlog       = flag.Int("backlog", 50_000, "how many messages wait in TestBacklog")
	backlogWindow = flag.Int("window", 100, "how many messages each of the ten publishers of TestBacklog has under way")
	memoryLimit   = flag.Int64("memory-limit", 0, "run the gateway of TestBacklog in a memory cgroup (version 1) of so many bytes, page cache included; 0: in none")
	cgroupMemory  = "/sys/fs/cgroup/memory"
)

// A long backlog takes little memory and little room on the disk, waits for the
// gateway's restart without delaying it, drains in order, and leaves a small file.
// scripts/backlog.sh makes it a million messages long and judges the figures.
func TestBacklog(t *testing.T) {
	addr, cloudAddr := need.Port(t), need.Port(t) // nobody is at the cloud's yet
	page := need.Port(t)
	config := pagedConfig(t, addr, cloudAddr, page, "")
	store := filepath.Join(filepath.Dir(config), "data", "gateway.db")
	g := &measured{t: t, addr: addr, page: page}
	begin := func() {
		g.process = start(t, "/bin/sh", "-c", confine(t)+`exec "$0" "$@"`, binary, "run", "-config", config)
	}
	tell := func(what, bound, format string, args ...any) {
		t.Logf("|%-44s %-12s %s", what, bound, fmt.Sprintf(format, args...))
	}

	begin()
	time.Sleep(2 * time.Second)
	idle := g.anonymous()
	tell("anonymous memory, idle", "", "%6.1f MB", mb(idle))

	peak := g.watch()
	began := time.Now()
	var publishing sync.WaitGroup
	for i := range 10 {
		s := &stream{flow: flow{qos: 1, window: *backlogWindow}, addr: addr, name: fmt.Sprintf("plant-1-line-2-sensor%02d", i)}
		publishing.Go(func() {
			if err := s.run(context.Background(), *backlog/10); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		})
	}
	publishing.Wait()
	took := time.Since(began)
	tell("published", "", "%d messages, %.0f per second", *backlog, float64(*backlog)/took.Seconds())
	tell("anonymous memory, peak while it grew", "<= 15 MB", "%6.1f MB above idle", mb(peak()-idle))
	time.Sleep(2 * time.Second)
	tell("anonymous memory, 2 s after", "<= 15 MB", "%6.1f MB above idle", mb(g.anonymous()-idle))
	info, err := os.Stat(store)
	if err != nil {
		t.Fatal(err)
	}
	tell("file", "<= 200 bytes", "%6.1f bytes per message, %.1f MB", float64(info.Size())/float64(*backlog), mb(info.Size()))

	g.stop()
	began = time.Now()
	begin()
	tell("opening after a clean stop", "<= 2 s", "%6.2f s", time.Since(began).Seconds())
	tell("anonymous memory, opened", "<= 15 MB", "%6.1f MB above idle", mb(g.anonymous()-idle))
	if f := g.read(); f.queued != int64(*backlog) {
		t.Errorf("%d messages wait after the restart, want %d", f.queued, *backlog)
	}
	g.kill()
	began = time.Now()
	begin()
	tell("opening after kill -9, with the check", "", "%6.2f s", time.Since(began).Seconds())

	peak = g.watch()
	cloud := startSink(t, cloudAddr)
	g.until("the link to be up", func(f figures) bool { return f.connected })
	began = time.Now()
	g.until("the backlog to drain", func(f figures) bool { return f.queued == 0 })
	took = cloud.last.Sub(began)
	tell("drained", "", "%v, %.0f per second", cloud, float64(*backlog)/took.Seconds())
	if cloud.came != *backlog || cloud.wrong != 0 {
		t.Errorf("the cloud got %v, want %d", cloud, *backlog)
	}
	tell("anonymous memory, peak while it drained", "<= 15 MB", "%6.1f MB above idle", mb(peak()-idle))
	began = time.Now()
	for time.Since(began) < time.Minute && du(t, store) > 1_000_000 {
		time.Sleep(100 * time.Millisecond)
	}
	tell("room on disk afterwards", "<= 1 MB", "%6.1f MB after %.0f s", mb(du(t, store)), time.Since(began).Seconds())
	if *memoryLimit > 0 {
		tell("in the cgroup", "", "%s", cgroupFigures(t))
	}
	g.stop()
}

func mb(n int64) float64 { return float64(n) / 1e6 }

// anonymous is the memory of the gateway's own, without pages of files.
func (g *measured) anonymous() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var n int64
		if k, _ := fmt.Sscanf(line, "RssAnon: %d kB", &n); k == 1 {
			return n << 10
		}
	}
	g.t.Fatal("the kernel does not tell the anonymous memory of a process")
	return 0
}

// watch looks at the anonymous memory until its result is asked for: the most that
// was seen.
func (g *measured) watch() (peak func() int64) {
	end, most := make(chan struct{}), make(chan int64)
	go func() {
		seen := int64(0)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				most <- seen
				return
			case <-tick.C:
				seen = max(seen, g.anonymous())
			}
		}
	}()
	return func() int64 { close(end); return <-most }
}

// du is what a file takes on the disk.
func du(t *testing.T, path string) int64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// confine returns what a shell does before it becomes the gateway.
func confine(t *testing.T) string {
	t.Helper()
	if *memoryLimit == 0 {
		return ""
	}
	dir := filepath.Join(cgroupMemory, "gateway-test")
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		t.Fatalf("make a memory cgroup: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "memory.limit_in_bytes"), []byte(strconv.FormatInt(*memoryLimit, 10)), 0); err != nil {
		t.Fatalf("limit a memory cgroup: %v", err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	return "echo $$ > " + dir + "/cgroup.procs; "
}

// cgroupFigures tells the most that was used and how often the limit was met.
func cgroupFigures(t *testing.T) string {
	t.Helper()
	number := func(name string) float64 {
		text, err := os.ReadFile(filepath.Join(cgroupMemory, "gateway-test", name))
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
		return n
	}
	return fmt.Sprintf("limit %.1f MB, most %.1f MB", number("memory.limit_in_bytes")/1e6, number("memory.max_usage_in_bytes")/1e6)
}
