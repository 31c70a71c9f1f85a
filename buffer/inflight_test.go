package buffer_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"edgegateway/buffer"
)

// pressed is a queue with one entry in flight, and what is done to it there.
type pressed struct {
	t    *testing.T
	path string
	s    *buffer.Store
	q    *buffer.Queue
	seq  uint64
}

func press(t *testing.T, l buffer.Limits, r buffer.Record) *pressed {
	p := &pressed{t: t, path: filepath.Join(t.TempDir(), "store.db")}
	p.s = open(t, p.path, patient())
	p.q = queue(t, p.s, "q", l)
	r.Data, r.Urgency = []byte("in flight"), buffer.Sync
	do(t, p.s, func(c *buffer.Change) { c.Attach(p.q, buffer.Sync); add(t, c, p.q, r) })
	e := next(t, p.s, p.q)
	p.seq = e.Seq
	return p
}

// holds checks that the number is taken, now, after a new connection and after a
// restart, with what it is handed out as; and that it is free behind the handshake.
func (p *pressed) holds(l buffer.Limits, as string) {
	p.t.Helper()
	oldest := func(when string) {
		p.t.Helper()
		if seq, ok := p.q.Oldest(); !ok || seq != p.seq {
			p.t.Fatalf("%s the oldest number that the receiver may know is %d (%v), want %d", when, seq, ok, p.seq)
		}
	}
	again := func(when string) {
		p.t.Helper()
		oldest(when)
		e := next(p.t, p.s, p.q)
		got := string(e.Data)
		if e.Again {
			got += "+"
		}
		if e.Received {
			got += "*"
		}
		if e.Seq != p.seq || got != as {
			p.t.Fatalf("%s Next gave %d, %q, want %d, %q", when, e.Seq, got, p.seq, as)
		}
		oldest(when)
	}
	oldest("while it is in flight")
	p.q.Rewind()
	again("in the next connection")
	p.q.Rewind()
	do(p.t, p.s, func(c *buffer.Change) { c.Detach(p.q, buffer.Sync) })
	oldest("while the receiver is away")
	mustClose(p.t, p.s)
	p.s = open(p.t, p.path, patient())
	p.q = queue(p.t, p.s, "q", l)
	oldest("after a restart")
	do(p.t, p.s, func(c *buffer.Change) { c.Attach(p.q, buffer.Sync) })
	again("in the connection after a restart")
	if !p.q.Ack(p.seq) {
		p.t.Fatal("its acknowledgement was not known")
	}
	oldest("before its removal is on disk")
	do(p.t, p.s, func(c *buffer.Change) {})
	if seq, ok := p.q.Oldest(); ok && seq <= p.seq {
		p.t.Fatalf("after the handshake number %d is still taken", seq)
	}
}

func TestDropOldestAgainstAnEntryInFlight(t *testing.T) {
	l := buffer.Limits{Messages: 2}
	p := press(t, l, buffer.Record{})
	for i := range 5 {
		do(t, p.s, func(c *buffer.Change) { add(t, c, p.q, early(fmt.Sprint(i))) })
	}
	if st := p.q.Stats(); st.Messages != 2 || st.Dropped != 4 {
		t.Errorf("%d messages and %d dropped, want 2 and 4", st.Messages, st.Dropped)
	}
	p.holds(l, "in flight+")
}

func TestTTLAgainstAnEntryInFlight(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits buffer.Limits
		record buffer.Record
	}{
		{"deadline", buffer.Limits{}, buffer.Record{Deadline: time.Hour}},
		{"age", buffer.Limits{Age: time.Hour}, buffer.Record{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := press(t, c.limits, c.record)
			behind := c.record
			behind.Data, behind.Early = []byte("behind"), true
			do(t, p.s, func(ch *buffer.Change) { add(t, ch, p.q, behind) })
			p.s.AdvanceClock(3 * time.Hour)
			p.s.SweepSoon()
			do(t, p.s, func(*buffer.Change) {})
			if st := p.q.Stats(); st.Messages != 1 || st.Expired != 1 || st.Dropped != 0 {
				t.Errorf("%d messages, %d expired, %d dropped, want 1, 1 and 0", st.Messages, st.Expired, st.Dropped)
			}
			p.holds(c.limits, "in flight+")
		})
	}
}

func TestKeepLastAgainstAnEntryInFlight(t *testing.T) {
	l := buffer.Limits{WhenFull: buffer.KeepLast}
	p := press(t, l, buffer.Record{Key: 7})
	for i := range 3 {
		r := early(fmt.Sprint(i))
		r.Key = 7
		do(t, p.s, func(c *buffer.Change) { add(t, c, p.q, r) })
	}
	if st := p.q.Stats(); st.Messages != 2 || st.Replaced != 2 {
		t.Errorf("%d messages and %d replaced, want 2 and 2", st.Messages, st.Replaced)
	}
	p.holds(l, "in flight+")
	wantDrain(t, p.q, "2")
}

func TestPurgeAgainstAnEntryInFlight(t *testing.T) {
	p := press(t, buffer.Limits{}, buffer.Record{})
	do(t, p.s, func(c *buffer.Change) { add(t, c, p.q, early("behind")) })
	purged, kept, err := p.q.Purge(context.Background(), nil)
	if purged != 2 || kept != 1 || err != nil {
		t.Fatalf("purged %d, of which %d hold their number: %v; want 2, 1", purged, kept, err)
	}
	if st := p.q.Stats(); st.Messages != 1 || st.Bytes != 0 || st.Purged != 2 {
		t.Errorf("%d messages of %d bytes, %d purged, want 1 of 0, and 2", st.Messages, st.Bytes, st.Purged)
	}
	// The message is complete as far as its receiver hears: PUBREL, whatever it knows.
	p.holds(buffer.Limits{}, "+*")
	wantDrain(t, p.q)
}

func TestPurgedAtQoS1HoldsItsNumberForTheConnection(t *testing.T) {
	for _, end := range []string{"acknowledgement", "end of the connection", "restart", "requeue"} {
		t.Run(end, func(t *testing.T) {
			p := press(t, buffer.Limits{}, buffer.Record{Brief: true})
			if purged, kept, err := p.q.Purge(context.Background(), nil); purged != 1 || kept != 1 || err != nil {
				t.Fatalf("purged %d, of which %d hold their number: %v; want 1, 1", purged, kept, err)
			}
			if seq, ok := p.q.Oldest(); !ok || seq != p.seq {
				t.Fatalf("the oldest number that the receiver may know is %d (%v), want %d", seq, ok, p.seq)
			}
			switch end {
			case "acknowledgement":
				if !p.q.Ack(p.seq) {
					t.Fatal("its acknowledgement was not known")
				}
			case "end of the connection":
				p.q.Rewind()
			case "requeue":
				p.q.Requeue(p.seq)
			case "restart":
				p.path = crash(t, p.path)
				mustClose(t, p.s)
				p.s = open(t, p.path, patient())
				p.q = attached(t, p.s, "q")
			}
			wantDrain(t, p.q)
			do(t, p.s, func(*buffer.Change) {})
			if seq, ok := p.q.Oldest(); ok {
				t.Errorf("number %d is still taken", seq)
			}
			if st := p.q.Stats(); st.Messages != 0 || st.InFlight != 0 {
				t.Errorf("%d messages and %d in flight are left", st.Messages, st.InFlight)
			}
		})
	}
}
