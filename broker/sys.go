package broker

import (
	"bytes"
	"fmt"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"edgegateway/broker/packet"
)

func sysTopic(name string) bool { return strings.HasPrefix(name, "$SYS/") }

// sysTopics publishes the broker's figures below $SYS/broker, by the names that
// Mosquitto made usual. They are retained, in memory only.
type sysTopics struct {
	b    *Broker
	last map[string][]byte
	load [len(loadFigures)][len(loadWindows)]float64 // per minute, smoothed
	prev Stats
	at   time.Time
	heap uint64 // the most
}

func newSysTopics(b *Broker) *sysTopics {
	return &sysTopics{b: b, last: make(map[string][]byte), at: time.Now()}
}

// publish publishes what has changed.
func (t *sysTopics) publish() {
	if t.b.cfg.SysInterval == 0 {
		return
	}
	st := t.b.Stats()
	heap := heapBytes()
	t.heap = max(t.heap, heap)
	t.set("version", "gateway "+buildVersion())
	t.set("uptime", fmt.Sprintf("%d seconds", int64(st.Uptime/time.Second)))
	for _, v := range []struct {
		name  string
		value int64
	}{
		{"clients/connected", int64(st.Clients)},
		{"clients/active", int64(st.Clients)},
		{"clients/disconnected", int64(st.Sessions - st.Clients)},
		{"clients/inactive", int64(st.Sessions - st.Clients)},
		{"clients/expired", st.SessionsExpired},
		{"clients/maximum", int64(st.ClientsMaximum)},
		{"clients/total", int64(st.Sessions)},
		{"connections/socket/count", int64(st.Connections)},
		{"bytes/received", st.BytesReceived},
		{"bytes/sent", st.BytesSent},
		{"messages/received", st.PacketsReceived},
		{"messages/sent", st.PacketsSent},
		{"messages/stored", int64(st.Queued + st.RetainedMessages)},
		{"publish/messages/received", st.PublishReceived},
		{"publish/messages/sent", st.PublishSent},
		{"publish/messages/dropped", st.PublishDropped},
		{"publish/bytes/received", st.PublishBytesReceived},
		{"publish/bytes/sent", st.PublishBytesSent},
		{"packet/out/count", int64(st.PacketsWaiting)},
		{"packet/out/bytes", st.BytesWaiting},
		{"retained messages/count", int64(st.RetainedMessages)},
		{"shared_subscriptions/count", int64(st.Shared)},
		{"subscriptions/count", int64(st.Subscriptions - st.Shared)},
		{"store/messages/count", int64(st.Queued + st.RetainedMessages)},
		{"store/messages/bytes", st.QueuedBytes + st.RetainedBytes},
		{"heap/current", int64(heap)},
		{"heap/maximum", int64(t.heap)},
	} {
		t.set(v.name, strconv.FormatInt(v.value, 10))
	}
	t.publishLoad(st)
}

// publishLoad publishes what happens per minute, as moving averages over 1, 5 and 15
// minutes.
func (t *sysTopics) publishLoad(st Stats) {
	now := time.Now()
	minutes := now.Sub(t.at).Minutes()
	if minutes <= 0 {
		return
	}
	t.at = now
	t.smooth(st, minutes)
	for i, f := range loadFigures {
		for j, window := range loadWindows {
			t.set(fmt.Sprintf("load/%s/%vmin", f.name, window), strconv.FormatFloat(t.load[i][j], 'f', 2, 64))
		}
	}
}

// smooth adds what has happened in the last minutes.
func (t *sysTopics) smooth(st Stats, minutes float64) {
	for i, f := range loadFigures {
		perMinute := float64(f.count(&st)-f.count(&t.prev)) / minutes
		for j, window := range loadWindows {
			t.load[i][j] += (1 - math.Exp(-minutes/window)) * (perMinute - t.load[i][j])
		}
	}
	t.prev = st
}

var loadWindows = [3]float64{1, 5, 15} // minutes

var loadFigures = [9]struct {
	name  string
	count func(*Stats) int64
}{
	{"sockets", func(s *Stats) int64 { return s.Sockets }},
	{"connections", func(s *Stats) int64 { return s.ConnectionsTotal }},
	{"messages/received", func(s *Stats) int64 { return s.PacketsReceived }},
	{"messages/sent", func(s *Stats) int64 { return s.PacketsSent }},
	{"bytes/received", func(s *Stats) int64 { return s.BytesReceived }},
	{"bytes/sent", func(s *Stats) int64 { return s.BytesSent }},
	{"publish/received", func(s *Stats) int64 { return s.PublishReceived }},
	{"publish/sent", func(s *Stats) int64 { return s.PublishSent }},
	{"publish/dropped", func(s *Stats) int64 { return s.PublishDropped }},
}

func (t *sysTopics) set(name, value string) {
	if bytes.Equal(t.last[name], []byte(value)) {
		return
	}
	t.last[name] = []byte(value)
	t.b.publishOwn("$SYS/broker/"+name, t.last[name])
}

// publishOwn publishes a retained message of the broker itself, which is not
// written to disk.
func (b *Broker) publishOwn(name string, payload []byte) {
	var w work
	b.mu.Lock()
	defer func() {
		b.mu.Unlock()
		w.finish(nil)
	}()
	w.startLocked(b)
	b.publishOwnLocked(name, payload, true, &w)
}

func (b *Broker) publishOwnLocked(name string, payload []byte, retain bool, w *work) {
	p := &b.own
	p.renew(b)
	p.payload, p.retain, p.stored = payload, retain, false
	p.qos = packet.QoS0
	p.at = time.Now()
	p.route = b.routeLocked([]byte(name))
	if err := b.publishLocked(p, w); err != nil {
		b.log.Debug("a message of the broker itself is not published", "topic", name, "err", err)
	}
}

func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

// buildVersion is the version of the main module of this program.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
