package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
	"edgegateway/internal/need"
)

// TestADamagedStoreCostsOnePageOfMessages takes one page away from the file of a
// gateway that was killed while the cloud was away: it starts, says what happened in
// its log, on its page and by a retained alarm, and all other messages arrive.
func TestADamagedStoreCostsOnePageOfMessages(t *testing.T) {
	cloud := startMosquitto(t)
	dir, addr, page := t.TempDir(), need.Port(t), need.Port(t)
	config := write(t, dir, "gateway.toml", fmt.Sprintf(`
id = "e2e"
data_dir = "%s/data"
[[broker.listeners]]
address = "tcp://%s"
[[cloud]]
name = "acme"
servers = ["mqtt://%s"]
up = [{ from = "load/#", to = "acme/load/#", qos = 1 }]
[status]
address = "%s"
`, dir, addr, cloud.addr, page))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	arrivals := newReceiver(cloud.addr, lasting(packet.V311, "consumer"), "acme/load/#")
	running.Go(func() { arrivals.run(ctx) })
	select {
	case <-arrivals.subscribed:
	case <-time.After(need.Patience):
		t.Fatal("the consumer could not subscribe at the cloud")
	}

	gateway := start(t, binary, "run", "-config", config)
	cloud.stop()
	enough := make(chan struct{})
	var safe progress
	from := &sender{
		addr: addr, connect: lasting(packet.V311, "p"), window: 20, enough: enough,
		random: rand.New(rand.NewPCG(1, 1)), onSafe: safe.add,
	}
	ended := make(chan error, 1)
	running.Go(func() { ended <- from.run(ctx) })
	safe.more(t, "acknowledgements", 3000)
	close(enough)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	gateway.kill()
	store := filepath.Join(dir, "data", "gateway.db")
	zeroOnePage(t, store)

	gateway = start(t, binary, "run", "-config", config)
	if log := gateway.out.String(); !strings.Contains(log, "store damaged; what could be read was kept") {
		t.Errorf("the log does not say it:\n%s", log)
	}
	asides, err := filepath.Glob(store + ".corrupt-*")
	if err != nil || len(asides) != 1 {
		t.Fatalf("set aside: %q, %v", asides, err)
	}
	if text := retained(t, addr, "e2e/alarm/store"); !strings.Contains(text, asides[0]) || !strings.Contains(text, "were kept") {
		t.Errorf("the alarm says %q", text)
	}
	r, err := http.Get("http://" + page + "/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	report, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || !bytes.Contains(report, []byte(asides[0])) || !bytes.Contains(report, []byte("were kept")) {
		t.Errorf("the page gets %s, %v", report, err)
	}

	cloud.again(t)
	const inPage = 66
	total := from.next
	if !arrivals.wait(total-inPage, need.Patience) {
		t.Errorf("%d of %d messages arrived, one page has %d at the most", arrivals.distinct, total, inPage)
	}
	t.Logf("%d of %d messages arrived: %s", arrivals.distinct, total, retained(t, addr, "e2e/alarm/store"))
	gateway.stop()
}

// zeroOnePage takes a leaf with messages away of which the check notices it.
func zeroOnePage(t *testing.T, path string) {
	t.Helper()
	const page = 4096
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := buffer.Check(path); err != nil {
		t.Fatal(err)
	}
	for at := 0; at+page <= len(b); at += page {
		if !bytes.Equal(b[at+8:at+10], []byte{2, 0}) || bytes.Count(b[at:at+page], []byte("load/p/")) < 5 {
			continue
		}
		harmed := bytes.Clone(b)
		clear(harmed[at : at+page])
		if err := os.WriteFile(path, harmed, 0o600); err != nil {
			t.Fatal(err)
		}
		if buffer.Check(path) != nil {
			return
		}
	}
	t.Fatal("no page of the file matters")
}

// retained reads one retained message.
func retained(t *testing.T, addr, topic string) string {
	t.Helper()
	c, _, err := dialAs(addr, packet.Connect{Version: packet.V311, ClientID: "looks", CleanStart: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: topic}}}); err != nil {
		t.Fatal(err)
	}
	for {
		p, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := p.(*packet.Publish); ok {
			return string(p.Payload)
		}
	}
}
