package broker

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

func newForTest(t *testing.T) *Broker {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	cfg := buffer.DefaultConfig()
	cfg.Sync = time.Minute // nothing is on disk while a test looks
	store, err := buffer.Open(filepath.Join(t.TempDir(), "gateway.db"), cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	b, err := New(DefaultConfig(), store, log)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// While the disk does not keep up a new message is refused, but not the repetition
// of one that waits for the disk: the refusal would free its identifier, and the
// next message with it would be taken for the repetition, acknowledged and lost.
func TestARepetitionIsNotRefusedWhileTheFirstWaits(t *testing.T) {
	b := newForTest(t)
	s := &Session{b: b, id: "c", generation: 1, durable: true}
	c := &conn{b: b, session: s, version: packet.V5, batch: &batch{}}
	s.conn, s.active = c, c
	full := ErrRefused{packet.QuotaExceeded, "too much waits for the disk"}
	publish := func(id uint16, refused error) inbound {
		c.batch.items = []inbound{{packet: packet.Publish{Topic: []byte("t"), QoS: 2, ID: id}, refused: refused}}
		if !c.routeBatch() {
			t.Fatal("not routed")
		}
		return c.batch.items[0]
	}
	first := publish(7, nil)
	if !first.isNew || first.receipt == nil {
		t.Fatalf("the first is new %v, waits %v", first.isNew, first.receipt != nil)
	}
	again := publish(7, full)
	if again.arrival != first.arrival || again.isNew {
		t.Error("the repetition does not join the message that waits")
	}
	other := publish(8, full)
	if other.arrival != nil || other.refused == nil {
		t.Error("a new message is not refused")
	}
	if next := publish(8, nil); !next.isNew {
		t.Error("the refused message kept its identifier")
	}
}

// The topics that are remembered are bounded by their size, too.
func TestLongTopicsDoNotFillTheMemory(t *testing.T) {
	b := newForTest(t)
	b.mu.Lock()
	defer b.mu.Unlock()
	long := strings.Repeat("x", 60_000)
	for i := range 1000 {
		b.routeLocked(fmt.Appendf(nil, "%d%s", i, long))
	}
	total := 0
	for name, r := range b.routes {
		total += len(name) + len(r.name)
	}
	if total > 16<<20 {
		t.Errorf("%d routes keep %d MiB of topics", len(b.routes), total>>20)
	}
}
