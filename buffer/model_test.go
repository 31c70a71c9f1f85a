package buffer_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"edgegateway/buffer"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "seed of the model and crash tests; 0: the time")
	stepsFlag = flag.Int("steps", 4000, "steps of the model test")
)

func seeded(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("repeat with -seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// entry and modelQueue say in the simplest way what a queue is.
type entry struct {
	seq             uint64
	data            string
	lane            uint8
	key             uint64
	deadline        time.Duration
	early, durable  bool
	brief, tomb     bool
	out, again, got bool
	order           int
}

func (e *entry) sent() bool { return e.out || e.again || e.got }

type modelQueue struct {
	q        *buffer.Queue
	limit    int
	policy   buffer.Policy
	age      time.Duration
	volatile bool
	attached bool
	entries  []*entry
	orders   int
	last     uint64
	rejected int
	values   map[uint64]*entry // of KeepLast
	fresh    []*entry          // appended by the Change that is not committed
}

// again is the same queue, new.
func (m *modelQueue) renewed() *modelQueue {
	return &modelQueue{limit: m.limit, policy: m.policy, age: m.age, volatile: m.volatile, attached: m.volatile}
}

func (m *modelQueue) visible(e *entry) bool { return m.volatile || e.durable || e.early }

// next: of the lanes that have something to be handed out again, the one whose
// first entry was handed out first; else the highest lane.
func (m *modelQueue) next() *entry {
	if !m.attached {
		return nil
	}
	var found *entry
	for lane := 9; lane >= 0; lane-- {
		again := false
		for _, e := range m.entries {
			again = again || int(e.lane) == lane && !e.out && e.again
		}
		if first := m.first(lane); again && first != nil && m.visible(first) && (found == nil || first.order < found.order) {
			found = first
		}
	}
	for lane := 9; lane >= 0 && found == nil; lane-- {
		if first := m.first(lane); first != nil && m.visible(first) {
			found = first
		}
	}
	return found
}

func (m *modelQueue) first(lane int) *entry {
	for _, e := range m.entries {
		if int(e.lane) == lane && !e.out {
			return e
		}
	}
	return nil
}

func (m *modelQueue) remove(e *entry) {
	m.entries = slices.DeleteFunc(m.entries, func(x *entry) bool { return x == e })
	m.fresh = slices.DeleteFunc(m.fresh, func(x *entry) bool { return x == e })
	if m.values[e.key] == e {
		delete(m.values, e.key)
	}
}

// over: there is no room for e, in the place of what it will replace.
func (m *modelQueue) over(e *entry) bool {
	n := len(m.entries) + 1
	if old := m.values[e.key]; old != nil && !old.sent() {
		n--
	}
	return m.limit > 0 && n > m.limit
}

// commit makes the newest entries replace older ones of their keys.
func (m *modelQueue) commit() {
	for _, e := range slices.Clone(m.fresh) {
		if !slices.Contains(m.fresh, e) || m.policy != buffer.KeepLast || e.key == 0 {
			continue
		}
		old := m.values[e.key]
		if m.values == nil {
			m.values = make(map[uint64]*entry)
		}
		m.values[e.key] = e
		if old != nil && !old.sent() {
			m.remove(old)
		}
	}
	m.fresh = nil
}

func (m *modelQueue) expire(clock time.Duration) {
	for _, e := range slices.Clone(m.entries) {
		if !e.sent() && e.deadline != 0 && clock > e.deadline {
			m.remove(e)
		}
	}
}

// end takes away what stands for a number that nobody holds.
func (m *modelQueue) end(which func(*entry) bool) {
	for _, e := range slices.Clone(m.entries) {
		if e.tomb && which(e) {
			m.remove(e)
		}
	}
}

// append returns whether the record is taken.
func (m *modelQueue) append(e *entry) bool {
	for m.over(e) {
		if m.policy != buffer.DropOldest && m.policy != buffer.KeepLast {
			return false
		}
		var victim *entry
		for _, x := range m.entries {
			if x.lane <= e.lane && !x.out && !x.again && (victim == nil || x.lane < victim.lane) {
				victim = x
			}
		}
		if victim == nil {
			return false
		}
		m.remove(victim)
	}
	m.entries = append(m.entries, e)
	if m.fresh = append(m.fresh, e); m.volatile {
		m.commit()
	}
	return true
}

type model struct {
	t       *testing.T
	r       *rand.Rand
	s       *buffer.Store
	path    string
	queues  map[string]*modelQueue
	table   map[string]string
	counter int
	calls   int // of done
	changes int
	done    chan error
}

// TestModel compares a store with a few slices, over random operations, stops and
// crashes. A queue with a limit is kept in memory, so that what is dropped is known
// at once; the others read nearly everything from disk.
func TestModel(t *testing.T) {
	m := &model{
		t: t, r: seeded(t), path: filepath.Join(t.TempDir(), "store.db"),
		queues: map[string]*modelQueue{
			"a": {}, "b": {}, "oldest": {limit: 5}, "refuse": {limit: 6, policy: buffer.Refuse},
			"newest": {limit: 6, policy: buffer.DropNewest},
			"v":      {volatile: true, attached: true}, "w": {volatile: true, attached: true, limit: 5},
			"last": {policy: buffer.KeepLast}, "last of 5": {policy: buffer.KeepLast, limit: 5},
			"last in memory": {policy: buffer.KeepLast, volatile: true, attached: true},
			"aged":           {age: 7 * time.Hour / 2}, "aged refuse": {age: 7 * time.Hour / 2, limit: 5, policy: buffer.Refuse},
		},
		table: make(map[string]string),
		done:  make(chan error, 100_000),
	}
	m.open()
	steps := *stepsFlag
	if testing.Short() {
		steps /= 4
	}
	ops := []struct {
		weight int
		fn     func()
	}{
		{30, m.change}, {30, m.hand}, {25, m.ack}, {6, m.received}, {4, m.rewind}, {3, m.requeue},
		{2, m.reject}, {5, m.attach}, {4, m.detach}, {1, m.forget}, {10, m.sync}, {1, m.drop},
		{2, m.reopen}, {2, m.crash}, {10, m.look}, {6, m.advance}, {4, m.purge},
	}
	total := 0
	for _, op := range ops {
		total += op.weight
	}
	for range steps {
		n := m.r.IntN(total)
		for _, op := range ops {
			if n -= op.weight; n < 0 {
				op.fn()
				break
			}
		}
		if t.Failed() {
			return
		}
	}
	m.reopen()
	m.look()
	if m.calls != m.changes {
		t.Errorf("%d changes, but done was called %d times", m.changes, m.calls)
	}
}

func (m *model) open() {
	m.s = open(m.t, m.path, patient(), buffer.WithWindow(7))
	for _, name := range slices.Sorted(maps.Keys(m.queues)) {
		q := m.queues[name]
		q.q = m.queue(name, q)
	}
	m.sync()
}

func (m *model) queue(name string, q *modelQueue) *buffer.Queue {
	l := buffer.Limits{Messages: q.limit, WhenFull: q.policy, Age: q.age}
	if q.volatile {
		return buffer.NewVolatile(l, nil)
	}
	return queue(m.t, m.s, name, l)
}

func (m *model) pick() (string, *modelQueue) {
	names := slices.Sorted(maps.Keys(m.queues))
	name := names[m.r.IntN(len(names))]
	return name, m.queues[name]
}

func (m *model) pickOut() (*modelQueue, *entry) {
	_, q := m.pick()
	var out []*entry
	for _, e := range q.entries {
		if e.out {
			out = append(out, e)
		}
	}
	if len(out) == 0 {
		return q, nil
	}
	return q, out[m.r.IntN(len(out))]
}

func (m *model) commit(c *buffer.Change) {
	m.changes++
	for _, q := range m.queues {
		defer q.commit()
	}
	c.Commit(func(err error) { m.done <- err })
}

func (m *model) change() {
	c := m.s.Begin()
	settle, tried := false, false
	for range 1 + m.r.IntN(4) {
		_, q := m.pick()
		if q.policy == buffer.KeepLast && q.limit > 0 && !q.volatile {
			if tried {
				continue // what is dropped after a look at the disk depends on what the first one replaces
			}
			tried = true
		}
		m.counter++
		e := &entry{
			data: fmt.Sprint(m.counter), lane: uint8(m.r.IntN(3)) * 4, early: m.r.IntN(3) > 0, brief: m.r.IntN(2) == 0,
			key: uint64(m.r.IntN(12)),
		}
		if m.r.IntN(3) == 0 {
			e.deadline = m.s.Clock() + time.Duration(m.r.IntN(6))*time.Hour + 30*time.Minute
		}
		record := buffer.Record{
			Data: []byte(e.data), Lane: e.lane, Early: e.early, Brief: e.brief, Key: e.key, Deadline: e.deadline,
			Urgency: buffer.Urgency(m.r.IntN(3)),
		}
		if age := m.s.Clock() + q.age; q.age > 0 && (e.deadline == 0 || age < e.deadline) {
			e.deadline = age
		}
		if q.volatile {
			e.deadline = 0 // the queues in memory have no clock
		}
		// An entry that waits for the disk can not be dropped from under the model.
		seq, err := c.Append(q.q, record)
		e.seq = seq
		taken := q.append(e)
		// A queue that drops the oldest takes the entry when it must read the disk to
		// see what there is to drop; at the next commit it is as if it had known.
		settle = settle || q.limit == 5 && q.policy != buffer.Refuse && !q.volatile
		if taken != (err == nil) && !(settle && err == nil) {
			m.t.Fatalf("queue with limit %d, policy %d: the model took it: %v, the queue said %v", q.limit, q.policy, taken, err)
		}
		if err == nil && !taken {
			delete(q.values, e.key) // it was the newest for a moment
		}
		if err == nil && seq <= q.last {
			m.t.Fatalf("number %d after %d", seq, q.last)
		}
		if err == nil {
			q.last = seq
		}
	}
	for range m.r.IntN(3) {
		key := fmt.Sprint(m.r.IntN(20))
		u := buffer.Urgency(m.r.IntN(3))
		if m.r.IntN(4) == 0 {
			delete(m.table, key)
			c.Delete(m.s.Table("t"), []byte(key), u)
			continue
		}
		m.counter++
		m.table[key] = fmt.Sprint(m.counter)
		c.Put(m.s.Table("t"), []byte(key), []byte(m.table[key]), u)
	}
	m.commit(c)
	if settle {
		m.sync()
	}
}

func (m *model) hand() {
	name, q := m.pick()
	for range 1 + m.r.IntN(6) {
		want := q.next()
		e, ok, err := q.q.Next()
		if err != nil {
			m.t.Fatal(err)
		}
		if want == nil {
			if ok {
				m.t.Fatalf("%s: Next gave %q, the model has nothing", name, e.Data)
			}
			return
		}
		got := fmt.Sprint(e.Seq, " ", string(e.Data), " ", e.Lane, " again ", e.Again, " received ", e.Received)
		expect := fmt.Sprint(want.seq, " ", want.data, " ", want.lane, " again ", want.again, " received ", want.got)
		if !ok || got != expect {
			m.t.Fatalf("%s: Next gave %s (%v), want %s", name, got, ok, expect)
		}
		q.orders++
		want.out, want.order = true, q.orders
	}
}

func (m *model) ack() {
	q, e := m.pickOut()
	if e == nil {
		return
	}
	if !q.q.Ack(e.seq) {
		m.t.Fatalf("Ack(%d) = false", e.seq)
	}
	if q.q.Ack(e.seq) {
		m.t.Fatalf("second Ack(%d) = true", e.seq)
	}
	q.remove(e)
}

func (m *model) received() {
	q, e := m.pickOut()
	if e == nil || e.tomb && e.brief {
		return
	}
	m.changes++
	if !q.q.Received(e.seq, func(err error) { m.done <- err }) {
		m.t.Fatalf("Received(%d) = false", e.seq)
	}
	if !q.volatile {
		m.sync() // the mark counts when it is on disk
	}
	e.got = true
}

func (m *model) rewind() {
	_, q := m.pick()
	q.q.Rewind()
	q.rewind()
}

func (q *modelQueue) rewind() {
	q.end(func(e *entry) bool { return e.brief && e.out })
	for _, e := range q.entries {
		if e.out {
			e.out, e.again = false, true
		}
	}
}

func (m *model) requeue() {
	q, e := m.pickOut()
	if e == nil || e.got && !e.tomb {
		return
	}
	q.q.Requeue(e.seq)
	if e.out, e.again, e.order = false, false, 0; e.tomb {
		q.remove(e)
	}
	m.sweep()
}

func (m *model) reject() {
	q, e := m.pickOut()
	if e == nil {
		return
	}
	q.q.Reject(e.seq, "no")
	q.remove(e)
	q.rejected++
}

func (m *model) attach() {
	_, q := m.pick()
	c := m.s.Begin()
	c.Attach(q.q, buffer.Lazy)
	m.commit(c)
	q.attached = true
}

func (m *model) detach() {
	_, q := m.pick()
	if q.volatile {
		return
	}
	q.q.Rewind()
	q.rewind()
	c := m.s.Begin()
	c.Detach(q.q, buffer.Lazy)
	m.commit(c)
	q.attached = false
	for _, e := range q.entries {
		e.order = 0
	}
}

func (m *model) forget() {
	_, q := m.pick()
	c := m.s.Begin()
	c.Forget(q.q, buffer.Sync)
	m.commit(c)
	q.end(func(*entry) bool { return true })
	for _, e := range q.entries {
		e.out, e.again, e.got, e.order = false, false, false, 0
	}
	m.sweep()
}

// advance sets the clock by whole hours, and deadlines lie between them. What is due is not handed out any more, and is gone after
// a sweep.
func (m *model) advance() {
	m.s.AdvanceClock(m.s.Clock() + time.Duration(m.r.IntN(3))*time.Hour)
	m.expire()
	for range m.r.IntN(4) {
		m.hand()
	}
	m.sweep()
}

func (m *model) expire() {
	for _, q := range m.queues {
		q.expire(m.s.Clock())
	}
}

func (m *model) sweep() {
	m.s.SweepSoon()
	m.sync()
	m.expire()
}

func (m *model) purge() {
	name, q := m.pick()
	every := m.r.IntN(4)
	match := func(e buffer.Entry) bool {
		return every == 0 || len(e.Data) > 0 && int(e.Data[len(e.Data)-1])%every == 0
	}
	purged, kept := 0, 0
	for _, e := range slices.Clone(q.entries) {
		if e.tomb || !match(buffer.Entry{Data: []byte(e.data)}) {
			continue
		}
		purged++
		if !e.sent() || e.brief && !e.out {
			q.remove(e)
			continue
		}
		kept++
		e.tomb, e.data, e.got = true, "", e.got || !e.brief
	}
	if every == 0 {
		match = nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	gone, stay, err := q.q.Purge(ctx, match)
	if gone != purged || stay != kept || err != nil {
		m.t.Fatalf("%s: purged %d, of which %d stay: %v; the model says %d and %d", name, gone, stay, err, purged, kept)
	}
	m.sync()
}

func (m *model) drop() {
	name, q := m.pick()
	if q.volatile {
		return
	}
	c := m.s.Begin()
	m.s.DropQueue(c, q.q)
	m.commit(c)
	next := q.renewed()
	next.q = m.queue(name, next)
	m.queues[name] = next
	if m.r.IntN(2) == 0 {
		m.sync()
	}
	m.sync() // else no number of the successor is reserved
}

func (m *model) sync() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := m.s.Sync(ctx); err != nil {
		m.t.Fatal(err)
	}
	for _, q := range m.queues {
		for _, e := range q.entries {
			e.durable = true
		}
	}
	m.collect()
}

func (m *model) collect() {
	for len(m.done) > 0 {
		if err := <-m.done; err != nil {
			m.t.Fatal("done: ", err)
		}
		m.calls++
	}
}

// reopened puts the model into the state after a stop: volatile queues are empty,
// nobody is attached.
func (m *model) reopened(crashed bool) {
	for _, q := range m.queues {
		if q.volatile {
			*q = *q.renewed()
			continue
		}
		q.end(func(e *entry) bool { return e.brief })
		clear(q.values)
		for _, e := range q.entries {
			if q.policy == buffer.KeepLast && e.key != 0 && !e.tomb && (q.values[e.key] == nil || q.values[e.key].seq < e.seq) {
				if q.values == nil {
					q.values = make(map[uint64]*entry)
				}
				q.values[e.key] = e
			}
		}
		for _, e := range q.entries {
			e.again = e.again || e.out || crashed && q.attached
			e.out, e.order, e.durable = false, 0, true
		}
		q.attached, q.orders = false, 0
	}
	m.open()
}

func (m *model) reopen() {
	mustClose(m.t, m.s)
	m.collect()
	m.reopened(false)
}

func (m *model) crash() {
	m.sync()
	m.sync() // what callbacks and dropped queues left
	old := m.s
	m.path = crash(m.t, m.path)
	mustClose(m.t, old)
	m.collect()
	m.reopened(true)
}

func (m *model) look() {
	for name, q := range m.queues {
		st := q.q.Stats()
		out := 0
		var size int64
		for _, e := range q.entries {
			size += int64(len(e.data))
			if e.out {
				out++
			}
		}
		if st.Messages != len(q.entries) || st.Bytes != size || st.InFlight != out {
			m.t.Fatalf("%s: %d messages, %d bytes, %d in flight; the model has %d, %d, %d",
				name, st.Messages, st.Bytes, st.InFlight, len(q.entries), size, out)
		}
		var want []string
		for lane := 9; lane >= 0; lane-- {
			for _, e := range q.entries {
				if int(e.lane) == lane && !e.tomb {
					want = append(want, fmt.Sprint(e.seq, " ", e.data, " ", e.out || e.again, " ", e.got))
				}
			}
		}
		var got []string
		if err := q.q.Each(func(e buffer.Entry) bool {
			got = append(got, fmt.Sprint(e.Seq, " ", string(e.Data), " ", e.Again, " ", e.Received))
			return true
		}); err != nil || !slices.Equal(got, want) {
			m.t.Fatalf("%s: Each saw %q (%v), want %q", name, got, err, want)
		}
	}
	got := make(map[string]string)
	if err := m.s.Table("t").Each(func(k, v []byte) error { got[string(k)] = string(v); return nil }); err != nil {
		m.t.Fatal(err)
	}
	if !maps.Equal(got, m.table) {
		m.t.Fatalf("the table holds %v, want %v", got, m.table)
	}
	key := fmt.Sprint(m.r.IntN(20))
	v, ok, err := m.s.Table("t").Get([]byte(key))
	if want, has := m.table[key]; err != nil || ok != has || string(v) != want {
		m.t.Fatalf("%s = %q, %v, %v; want %q, %v", key, v, ok, err, want, has)
	}
}
