package e2e_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/internal/need"
)

var (
	wearTime = flag.Duration("wear", 0, "how long each row of TestWear loads the gateway; 0: only the short rows, a few seconds each")
	wearRows = flag.String("rows", "", "of TestWear, only those whose title contains this")
)

// A wearRow is one kind of load and what it may cost the disk.
type wearRow struct {
	title   string
	link    bool // up
	buffer  string
	devices int           // simulated ones
	every   time.Duration // the time between two readings of each
	streams []*stream
	burst   int           // messages of each stream, as fast as they go; 0: at their rate
	fsync   time.Duration // each fsync takes so much longer
	bytes   float64       // the most per message; negative: no bound
	syncs   float64       // the same
	short   bool          // part of every run of the tests

	line string // the result
}

const none = -1.0

func wearTable() []wearRow {
	ten := func(f flow) (list []*stream) {
		for i := range 10 {
			list = append(list, &stream{flow: f, name: fmt.Sprintf("sensor-%02d", i)})
		}
		return list
	}
	const calm = `retained_every = "24h"` // what rides along with others stays, what is written by itself is not
	rows := []wearRow{
		{title: "link up, QoS 0 at 100/s", link: true, buffer: calm, streams: ten(flow{qos: 0, rate: 10}), bytes: 0, syncs: 0},
		{title: "link up, QoS 1 at 100/s", link: true, buffer: calm, streams: ten(flow{qos: 1, rate: 10}), bytes: 0, syncs: 0, short: true},
		{title: "link up, readings at 100/s", link: true, buffer: calm, devices: 10, every: 100 * time.Millisecond, bytes: 0, syncs: 0, short: true},
		{title: "link up, readings at 100/s, retained_every 10s", link: true, buffer: `retained_every = "10s"`, devices: 10, every: 100 * time.Millisecond, bytes: none, syncs: none},
		{title: "link up, QoS 0 retained, changing, at 100/s", link: true, buffer: calm, streams: ten(flow{qos: 0, retain: true, rate: 10}), bytes: 0, syncs: 0},
		{title: "link up, QoS 0 retained, unchanged", link: true, buffer: calm, streams: ten(flow{qos: 0, retain: true, same: true, rate: 10}), bytes: 0, syncs: 0},
		{title: "link up, QoS 1 retained, unchanged", link: true, buffer: calm, streams: ten(flow{qos: 1, retain: true, same: true, rate: 10}), bytes: 0, syncs: 0, short: true},
		{title: "link up, QoS 1 retained, changing, at 100/s", link: true, streams: ten(flow{qos: 1, retain: true, rate: 10}), bytes: none, syncs: none},
		{title: "link up, QoS 1 at 300/s", link: true, buffer: calm, streams: ten(flow{qos: 1, rate: 30}), bytes: 0, syncs: 0},
	}
	for _, fsync := range []time.Duration{0, 20 * time.Millisecond} {
		title := func(s string) string {
			if fsync > 0 {
				s += ", fsync +" + fsync.String()
			}
			return s
		}
		rows = append(rows,
			wearRow{title: title("link down, readings at 100/s"), devices: 10, every: 100 * time.Millisecond, bytes: 300, syncs: 0.01, fsync: fsync},
			wearRow{title: title("link down, readings at 10/s"), devices: 10, every: time.Second, bytes: 700, syncs: none, fsync: fsync},
			wearRow{title: title("link down, QoS 1 at 100/s, sync 1s"), buffer: `sync = "1s"`, streams: ten(flow{qos: 1, rate: 10}), bytes: 450, syncs: 0.03, fsync: fsync},
			wearRow{title: title("link down, QoS 1 retained at 100/s, sync 1s"), buffer: `sync = "1s"`, streams: ten(flow{qos: 1, retain: true, rate: 10}), bytes: none, syncs: 0.03, fsync: fsync},
			wearRow{title: title("link down, QoS 1 at 100/s, sync 50ms"), streams: ten(flow{qos: 1, rate: 10}), bytes: none, syncs: none, fsync: fsync},
			wearRow{title: title("link down, bursts of 10 x 1,000 in flight"), streams: ten(flow{qos: 1, window: 1000}), burst: 20_000, bytes: 200, syncs: none, fsync: fsync, short: fsync == 0},
		)
	}
	return rows
}

// What the gateway writes for a message that is delivered is nothing, and for one
// that has to wait for the link little: bytes and fsyncs, per message, by the
// kernel's count and the store's own. The link has a delay of 100 ms each way.
// scripts/wear.sh prints the whole table.
func TestWear(t *testing.T) {
	need.Program(t, "mosquitto")
	var rows []*wearRow
	t.Cleanup(func() { // rows that share the time have no order
		t.Logf("|%-58s %8s %7s %6s %7s %6s %6s %8s %6s", "", "messages", "bytes", "bound", "fsyncs", "bound", "", "kernel", "RSS MB")
		for _, row := range rows {
			t.Log("|" + row.line)
		}
	})
	for _, row := range wearTable() {
		if *wearTime == 0 && !row.short || !strings.Contains(row.title, *wearRows) {
			continue
		}
		if row.fsync > 0 {
			need.Program(t, "strace")
		}
		rows = append(rows, &row)
		t.Run(row.title, func(t *testing.T) {
			if row.burst == 0 {
				t.Parallel() // it takes time, and little else
			}
			row.run(t)
		})
	}
}

func (row *wearRow) run(t *testing.T) {
	lasting, settling := *wearTime, 10*time.Second
	if lasting == 0 {
		lasting, settling = 3*time.Second, 7*time.Second
	}
	cloud := startMosquitto(t)
	way := startFar(t, cloud.addr, 100*time.Millisecond, 20*time.Millisecond)
	g := startMeasured(t, way.addr, row.config(), row.fsync)
	g.until("the link to be up", func(f figures) bool { return f.connected })
	if !row.link {
		way.cut()
		g.until("the link to be down", func(f figures) bool { return !f.connected })
	}

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	failed := make(chan error, len(row.streams))
	load := func(count int) {
		for _, s := range row.streams {
			s.addr = g.addr
			running.Go(func() { failed <- s.run(ctx, count) })
		}
	}
	var from, to figures
	if row.burst > 0 {
		from = row.look(g)
		load(row.burst)
		for range row.streams {
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
		}
		to = row.look(g)
	} else {
		load(math.MaxInt)
		time.Sleep(settling) // acknowledgement times are learned, and what the connection cost is written
		from = row.edge(g)
		time.Sleep(lasting)
		to = row.edge(g)
		select {
		case err := <-failed:
			t.Fatal(err)
		default:
		}
	}
	row.tell(t, from, to)
}

func (row *wearRow) config() string {
	config := fmt.Sprintf("[buffer]\n%s\n", row.buffer)
	for i := range row.devices {
		config += fmt.Sprintf(`
[[devices]]
name = "boiler-%02d"
kind = "sim"
every = %q
options.seed = %d
options.channels = [
  { name = "temperature", wave = "walk", min = 18, max = 24, step = 0.1 },
  { name = "humidity", wave = "walk", min = 35, max = 65, step = 0.5 },
]
`, i, row.every.String(), i)
	}
	return config
}

// look reads the figures, with the messages of the load so far.
func (row *wearRow) look(g *measured) figures {
	f := g.read()
	for _, s := range row.streams {
		if s.qos == packet.QoS0 {
			f.messages += s.sent.Load()
		} else {
			f.messages += s.acked.Load()
		}
	}
	f.messages += f.readings
	return f
}

// edge waits for the end of a commit: a load that goes on is measured from one to
// another. With nothing to write it is any time.
func (row *wearRow) edge(g *measured) figures {
	f := row.look(g)
	if row.bytes == 0 {
		return f
	}
	for deadline := time.Now().Add(12 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if now := row.look(g); now.commits > f.commits {
			return now
		}
	}
	return f
}

func (row *wearRow) tell(t *testing.T, from, to figures) {
	messages := float64(to.messages - from.messages)
	if messages == 0 {
		t.Fatal("nothing was measured")
	}
	bytes, syncs := float64(to.bytes-from.bytes)/messages, float64(to.syncs-from.syncs)/messages
	kernel := float64(to.written-from.written) / messages
	bound := func(most float64, format string) string {
		if most < 0 {
			return "-"
		}
		return fmt.Sprintf(format, most)
	}
	verdict := "ok"
	if row.bytes >= 0 && bytes > row.bytes || row.syncs >= 0 && syncs > row.syncs {
		verdict = "over"
	}
	row.line = fmt.Sprintf("%-58s %8.0f %7.1f %6s %7.4f %6s %6s %8.1f %6.1f", row.title, messages,
		bytes, bound(row.bytes, "%.0f"), syncs, bound(row.syncs, "%.2f"), verdict, kernel, float64(to.rss)/1e6)
	switch {
	case row.bytes == 0 && (bytes != 0 || kernel != 0 || syncs != 0):
		t.Errorf("%d bytes, %d by the kernel's count, and %d fsyncs for %.0f messages, want none", to.bytes-from.bytes, to.written-from.written, to.syncs-from.syncs, messages)
	case row.bytes == 0 && row.link && to.sent-from.sent < int64(messages/2):
		t.Errorf("the cloud acknowledged %d of %.0f messages meanwhile", to.sent-from.sent, messages)
	}
}

// measured is a gateway whose figures are read.
type measured struct {
	*process
	t          *testing.T
	addr, page string
}

// figures is what a gateway has cost so far.
type figures struct {
	written   int64 // bytes that its process had written to storage: write_bytes of /proc/PID/io
	bytes     int64 // of these, pages of the store, as it counts itself
	commits   int64
	syncs     int64
	sent      int64 // to the cloud
	queued    int64
	readings  int64
	rss       int64
	connected bool
	messages  int64
}

// startMeasured starts a gateway whose way to the cloud is at cloudAddr. With fsync,
// every fsync and fdatasync of it begins that much later.
func startMeasured(t *testing.T, cloudAddr, more string, fsync time.Duration) *measured {
	t.Helper()
	g := &measured{t: t, addr: need.Port(t), page: need.Port(t)}
	config := pagedConfig(t, g.addr, cloudAddr, g.page, more)
	if fsync > 0 {
		// -D: the gateway is our child, and strace its own.
		g.process = start(t, "strace", "-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync,fsync",
			"-e", fmt.Sprintf("inject=fdatasync,fsync:delay_enter=%d", fsync.Microseconds()), binary, "run", "-config", config)
	} else {
		g.process = start(t, binary, "run", "-config", config)
	}
	return g
}

func (g *measured) read() (f figures) {
	g.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fmt.Sscanf(line, "write_bytes: %d", &f.written)
	}
	answer, err := http.Get("http://" + g.page + "/metrics")
	if err != nil {
		g.t.Fatal(err)
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if name, _, labels := strings.Cut(name, "{"); labels || ok {
			_, last, _ := strings.Cut(lines.Text(), "} ")
			if labels {
				value = last
			}
			n, _ := strconv.ParseFloat(value, 64)
			switch name {
			case "gateway_store_written_bytes_total":
				f.bytes = int64(n)
			case "gateway_store_commits_total":
				f.commits = int64(n)
			case "gateway_store_syncs_total":
				f.syncs = int64(n)
			case "gateway_cloud_sent_total":
				f.sent = int64(n)
			case "gateway_cloud_queue_messages":
				f.queued = int64(n)
			case "gateway_cloud_connected":
				f.connected = n == 1
			case "gateway_device_readings_total":
				f.readings += int64(n)
			case "process_resident_memory_bytes":
				f.rss = int64(n)
			}
		}
	}
	return f
}

// until waits until the figures are as they must be.
func (g *measured) until(what string, is func(figures) bool) {
	g.t.Helper()
	g.within(time.Minute, what, is)
}

func (g *measured) within(limit time.Duration, what string, is func(figures) bool) {
	g.t.Helper()
	for deadline := time.Now().Add(limit); !is(g.read()); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("waited %v for %s", limit, what)
		}
	}
}
