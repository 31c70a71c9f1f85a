package broker_test

import (
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// inFile looks at the file of a broker that has stopped.
func inFile(t *testing.T, dir string, write bool, fn func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "gateway.db"), 0o600, &bbolt.Options{ReadOnly: !write, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	do := db.View
	if write {
		do = db.Update
	}
	if err := errors.Join(do(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestACommonMessageFitsAPageTwentyOneTimes: what a message takes on disk is what a
// card wears by while the link is down.
func TestACommonMessageFitsAPageTwentyOneTimes(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, config())
	b, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "b", SessionExpiry: 3600, CleanStart: true})
	subscribe(t, b, "#", 1)
	b.Leave()
	a := connect(t, h, packet.V311, "a", true)
	name, payload := strings.Repeat("t/", 20), strings.Repeat("p", 100)
	const n = 2100
	for range n / 100 {
		var ids []packet.Packet
		for i := range uint16(100) {
			a.Send(withID(message(name, payload, 1), i+1))
			ids = append(ids, ack(packet.PUBACK, i+1))
		}
		a.Expect(ids...)
	}
	h.stop()
	inFile(t, dir, false, func(tx *bbolt.Tx) error {
		return tx.ForEach(func(k []byte, b *bbolt.Bucket) error {
			if !strings.HasPrefix(string(k), "q/client/b/") {
				return nil
			}
			st := b.Stats()
			t.Logf("%d records in %d pages, %d bytes each", st.KeyN, st.LeafPageN, st.LeafInuse/st.KeyN)
			if st.KeyN != n+1 || st.LeafPageN > n/21+1 {
				t.Errorf("%d records take %d pages", st.KeyN, st.LeafPageN)
			}
			return nil
		})
	})
}

// unpack puts the store of testdata, which a version with records of format 1 left
// behind, into a directory.
func unpack(t *testing.T) (dir string) {
	t.Helper()
	f, err := os.Open("testdata/schema1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gateway.db"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "gateway.db.state"), []byte("open\n"), 0o600); err != nil { // or it would be a backup
		t.Fatal(err)
	}
	return dir
}

// recordsOf describes what lies in the queues and the retained messages, in the
// words of testdata/schema1.txt, sorted.
func recordsOf(t *testing.T, h *house) (lines []string) {
	t.Helper()
	add := func(where string, r broker.Record) {
		expires := false
		if p := r.Message.Properties; p != nil {
			expires = p.Has&packet.HasMessageExpiry != 0
			p.Has, p.MessageExpiry = p.Has&^packet.HasMessageExpiry, 0
		}
		lines = append(lines, fmt.Sprintf("%s %x %d %s %s %q %d %v %v %v %+v", where, r.ID, r.Message.At.UnixMilli(), r.Message.Origin,
			r.Message.Topic, r.Message.Payload, r.QoS, r.Retain, r.SubscriptionIDs, expires, r.Message.Properties))
	}
	decoder := h.Decoder()
	for _, name := range h.store.Queues() {
		q, err := h.store.Queue(name, buffer.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		err = q.Each(func(e buffer.Entry) bool {
			r, err := decoder.Decode(e)
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
	return lines
}

func TestRecordsOfFormat1AreRead(t *testing.T) { synctest.Test(t, testRecordsOfFormat1) }

func testRecordsOfFormat1(t *testing.T) {
	text, err := os.ReadFile("testdata/schema1.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(string(text)), "\n")
	dir := unpack(t)
	h := openTimed(t, dir, config())
	compare := func() {
		t.Helper()
		got := recordsOf(t, h)
		for _, l := range want {
			if !slices.Contains(got, l) {
				t.Errorf("misses %s", l)
			}
		}
		for _, l := range got {
			if !slices.Contains(want, l) {
				t.Errorf("has %s", l)
			}
		}
	}
	compare()
	// What is left of a shared subscription goes to somebody else, and what is
	// retained to who subscribes now: as the messages that they were.
	heir, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "heir", SessionExpiry: 1 << 30, CleanStart: true})
	subscribe(t, heir, "$share/g/t/+", 1)
	heir.Leave()
	member, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "member", CleanStart: true})
	member.Leave()
	synctest.Wait() // they are handed over
	s, err := h.Local("cloud/late", broker.Rights{}).Session(buffer.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Subscribe("t/kept", broker.SubscribeOptions{QoS: 1}); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if rest, ok := strings.CutPrefix(want[i], "client/member "); ok {
			want[i] = "client/heir " + rest
		}
		if rest, ok := strings.CutPrefix(want[i], "client/b "); ok && strings.Contains(rest, "t/kept") {
			want = append(want, "local/cloud "+strings.Replace(rest, "1 false", "1 true", 1))
		}
	}
	compare()
	h.stop()
	h = openTimed(t, dir, config())
	compare()
	time.Sleep(1000 * time.Second)
	q, err := h.store.Queue("local/cloud/acme", buffer.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	err = q.Each(func(e buffer.Entry) bool { // the first
		r, err := h.Decoder().Decode(e)
		if p := r.Message.Properties; err != nil || p.MessageExpiry > 1<<30-900 || p.MessageExpiry < 1<<30-2000 {
			t.Errorf("%+v: %v", r.Message, err)
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	b := connectAgain(t, h, packet.V5, "b")
	for _, topic := range []string{"t/expiring", "t/plain", "t/kept", "t/cloud/other", "t/device"} {
		if p, ok := b.Receive().(*packet.Publish); !ok || string(p.Topic) != topic {
			t.Errorf("b receives %v, want %s", p, topic)
		}
	}
}

// identities adds the identity of each message in the queue of a Local to those that
// are known, and fails if one stands for two messages, or changes.
func identities(t *testing.T, h *house, known map[[16]byte]string, of map[string][16]byte) {
	t.Helper()
	q, err := h.store.Queue("local/cloud", buffer.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	decoder := h.Decoder()
	err = q.Each(func(e buffer.Entry) bool {
		r, err := decoder.Decode(e)
		if err != nil {
			t.Fatal(err)
		}
		text := string(r.Message.Payload)
		if was, ok := known[r.ID]; ok && was != text {
			t.Fatalf("%x is the identity of %q and of %q", r.ID, was, text)
		}
		if was, ok := of[text]; ok && was != r.ID {
			t.Fatalf("the identity of %q was %x and is %x", text, was, r.ID)
		}
		known[r.ID], of[text] = text, r.ID
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

// publishSome publishes messages whose text is said once in all runs.
func publishSome(t *testing.T, h *house, run string, n int) {
	t.Helper()
	s, err := h.Local("cloud", broker.Rights{}).Session(buffer.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Subscribe("#", broker.SubscribeOptions{QoS: 1}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		r := h.Local("device", broker.Rights{}).Publish(broker.Message{Topic: "t", QoS: 1, Payload: fmt.Append(nil, run, " ", i)})
		if err := r.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoTwoMessagesShareAnIdentity in however many copies of a store, made at
// whatever moment, gateways go on.
func TestNoTwoMessagesShareAnIdentity(t *testing.T) {
	known, of := make(map[[16]byte]string), make(map[string][16]byte)
	copied := func(dir string) string {
		t.Helper()
		to := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		return to
	}
	first := t.TempDir()
	h := open(t, first, config())
	copies := []string{copied(first)} // before the first message
	publishSome(t, h, "first run", 5)
	identities(t, h, known, of)
	copies = append(copies, copied(first)) // in the middle of the run
	publishSome(t, h, "first run goes on", 5)
	identities(t, h, known, of)
	h.stop()
	copies = append(copies, copied(first), copied(first)) // two of a stopped one
	for i, dir := range append(copies, first) {
		for again := range 3 {
			h := open(t, dir, config())
			identities(t, h, known, of)
			publishSome(t, h, fmt.Sprintf("copy %d, run %d", i, again), 3)
			identities(t, h, known, of)
			if again == 1 {
				dir = copied(dir) // a power cut
			}
			h.stop()
		}
	}
	if len(known) != 10+5*3*3 {
		t.Errorf("%d messages", len(known))
	}
}

// TestIdentitiesStayApartWhenTheRunsAreLost: what salvage brings back may lack them.
func TestIdentitiesStayApartWhenTheRunsAreLost(t *testing.T) {
	dir := t.TempDir()
	known, of := make(map[[16]byte]string), make(map[string][16]byte)
	for i := range 10 {
		h := open(t, dir, config())
		publishSome(t, h, fmt.Sprint("run ", i), 3)
		identities(t, h, known, of)
		h.stop()
		if i == 5 {
			inFile(t, dir, true, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("t/broker.runs")) })
			clear(known) // what was there before has another identity from now on, but one of its own
			clear(of)
		}
	}
	if len(known) != 30 {
		t.Errorf("%d messages have %d identities", 30, len(known))
	}
}

func TestRunsThatAreLongAgoAreForgotten(t *testing.T) {
	dir := t.TempDir()
	store, err := buffer.Open(filepath.Join(dir, "gateway.db"), storeConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := store.Begin()
	for i := range uint32(5000) {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		value := append(sum[:8:8], 0, 0, 0, 0, 0, 0, byte(i>>8), byte(i))
		c.Put(store.Table("broker.runs"), sum[:4], value, buffer.Sync)
	}
	c.Commit(nil)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	h := open(t, dir, config())
	publishSome(t, h, "run", 1)
	if err := h.store.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, oldest := 0, 1<<16
	err = h.store.Table("broker.runs").Each(func(_, value []byte) error {
		n++
		oldest = min(oldest, int(value[14])<<8|int(value[15]))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n != 4097 || oldest != 904 { // of those that were there the newest, and this one
		t.Errorf("%d runs are known, the oldest is number %d", n, oldest)
	}
}

// TestARunWithoutMessagesLeavesNothing: a gateway that starts and stops.
func TestARunWithoutMessagesLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, config())
	h.stop()
	inFile(t, dir, false, func(tx *bbolt.Tx) error {
		if tx.Bucket([]byte("t/broker.runs")) != nil {
			t.Error("it is noted")
		}
		return nil
	})
}

// TestADecodedMessageSaysWhatIsLeftOfItsTime by the clock of the gateway, whatever
// time the message says it is of.
func TestADecodedMessageSaysWhatIsLeftOfItsTime(t *testing.T) {
	for _, at := range []time.Time{time.UnixMilli(5), time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2076, 1, 1, 0, 0, 0, 0, time.UTC)} {
		inBubble(t, func(t *testing.T, dir string) {
			h := openTimed(t, dir, config())
			s, err := h.Local("cloud", broker.Rights{}).Session(buffer.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Subscribe("#", broker.SubscribeOptions{QoS: 1}); err != nil {
				t.Fatal(err)
			}
			err = wait(t, h.Local("device", broker.Rights{}).Publish(broker.Message{Topic: "t", QoS: 1, Payload: []byte("x"), At: at,
				Properties: &packet.Properties{Has: packet.HasMessageExpiry, MessageExpiry: 100}}))
			if err != nil {
				t.Fatal(err)
			}
			left := func(decoder *broker.Decoder, store *buffer.Store, want uint32) {
				t.Helper()
				q, err := store.Queue("local/cloud", buffer.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				err = q.Each(func(e buffer.Entry) bool {
					r, err := decoder.Decode(e)
					if err != nil || r.Message.Properties.MessageExpiry != want || !r.Message.At.Equal(at) || r.Message.Origin != "device" {
						t.Errorf("%+v with %+v: %v; want %d s left", r.Message, r.Message.Properties, err, want)
					}
					n++
					return true
				})
				if n != 1 || err != nil {
					t.Errorf("%d entries: %v", n, err)
				}
			}
			time.Sleep(30 * time.Second)
			left(h.Decoder(), h.store, 70)
			synctest.Wait()
			h.stop()
			time.Sleep(time.Hour) // without power
			store, err := buffer.Open(filepath.Join(dir, "gateway.db"), storeConfig(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			decoder, err := broker.NewDecoder(store)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second)
			left(decoder, store, 50)
		})
	}
}

// TestWhatIsNoRecordIsRefused, wherever it ends and whatever is in it.
func TestWhatIsNoRecordIsRefused(t *testing.T) {
	h := open(t, unpack(t), config())
	publishSome(t, h, "run", 1)
	var records []buffer.Entry
	for _, name := range h.store.Queues() {
		q, err := h.store.Queue(name, buffer.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Each(func(e buffer.Entry) bool { records = append(records, e); return true }); err != nil {
			t.Fatal(err)
		}
	}
	decoder := h.Decoder()
	for _, e := range records {
		whole := e.Data
		for n := range whole {
			e.Data = whole[:n:n]
			if r, err := decoder.Decode(e); err == nil {
				t.Fatalf("the first %d bytes of %x make %+v", n, whole, r)
			}
		}
		for i := range whole {
			for _, b := range []byte{0, 0xff, whole[i] ^ 1, whole[i] ^ 0x10} {
				e.Data = slices.Clone(whole)
				e.Data[i] = b
				decoder.Decode(e) // must not panic
			}
		}
	}
	for _, data := range []string{"", "\x40aaaabcdefgh", "\xf0", "\x20", "\x20abcd", "\x20abcd\xff"} {
		if _, err := decoder.Decode(buffer.Entry{Data: []byte(data)}); err == nil {
			t.Errorf("%q is a record", data)
		}
	}
}
