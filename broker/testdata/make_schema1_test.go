// This program made schema1.db.gz and schema1.txt. It is of package broker as it was
// when its records had format 1: to run it again, put it among the files of such a
// version and call go test -run TestMakeSchema1 with SCHEMA1 set to a directory.
package broker_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

func TestMakeSchema1(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, config())
	b, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "b", SessionExpiry: 1 << 30, CleanStart: true})
	subscribe(t, b, "t/#", 2)
	b.Leave()
	member, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "member", SessionExpiry: 1 << 30, CleanStart: true})
	subscribe(t, member, "$share/g/t/+", 1)
	member.Leave()
	s, err := h.Local("cloud/acme", broker.Rights{}).Session(buffer.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Subscribe("#", broker.SubscribeOptions{QoS: 2, ID: 7, RetainAsPublished: true}); err != nil {
		t.Fatal(err)
	}
	a, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "a", CleanStart: true})
	m := expiring("t/expiring", "one", 2, 1<<30)
	m.Properties.UserProperties = []packet.UserProperty{{Key: "k", Value: "v"}}
	kept := expiring("t/kept", "two", 1, 1<<30)
	kept.Retain = true
	a.Send(withID(m, 1), withID(message("t/plain", "three", 1), 2), withID(kept, 3)).
		ExpectInAnyOrder(ack(packet.PUBREC, 1), ack(packet.PUBACK, 2), ack(packet.PUBACK, 3))
	for name, retain := range map[string]bool{"cloud/other": false, "device": true} {
		err := wait(t, h.Local(name, broker.Rights{}).Publish(broker.Message{Topic: "t/" + name, QoS: 1, Payload: []byte("four"), Retain: retain}))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := h.store.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	var lines []string
	add := func(where string, r broker.Record) {
		expires := false
		if p := r.Message.Properties; p != nil {
			expires = p.Has&packet.HasMessageExpiry != 0
			p.Has, p.MessageExpiry = p.Has&^packet.HasMessageExpiry, 0
		}
		lines = append(lines, fmt.Sprintf("%s %x %d %s %s %q %d %v %v %v %+v", where, r.ID, r.Message.At.UnixMilli(), r.Message.Origin,
			r.Message.Topic, r.Message.Payload, r.QoS, r.Retain, r.SubscriptionIDs, expires, r.Message.Properties))
	}
	for _, name := range h.store.Queues() {
		q, err := h.store.Queue(name, buffer.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		err = q.Each(func(e buffer.Entry) bool {
			r, err := broker.DecodeRecord(e.Data)
			if err != nil {
				t.Fatal(err)
			}
			add(strings.Join(strings.Split(name, "/")[:2], "/"), r)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range h.Retained("#", 0) {
		add("retained", broker.Record{Message: m, QoS: m.QoS, Retain: m.Retain})
	}
	slices.Sort(lines)
	out := os.Getenv("SCHEMA1")
	if err := os.WriteFile(filepath.Join(out, "schema1.txt"), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "gateway.db")) // as a power cut leaves it
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(out, "schema1.db.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z, _ := gzip.NewWriterLevel(f, gzip.BestCompression)
	_, err = z.Write(content)
	if err := errors.Join(err, z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
