package cloud

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"

	"edgegateway/buffer"
)

// inbound remembers the packet identifiers of QoS 2 messages from the server,
// from the message until PUBREL. It outlives connections; on disk it is part of
// the table of the bridge, and a message is written together with its identifier.
type inbound struct {
	store *buffer.Store
	table *buffer.Table

	mu  sync.Mutex // guards what follows; the broker is never called with it held
	ids map[uint16]*arrival
}

// arrival is one identifier.
type arrival struct {
	state arrivalState
	link  *link // whom to answer: the newest connection that asked, nil: nobody
	turn  *turn
}

type arrivalState uint8

const (
	accepting arrivalState = iota // the message is on its way to the disk; PUBREC follows
	accepted                      // it is there; PUBREL will come
	releasing                     // the identifier is being removed; PUBCOMP follows
)

var inboundPrefix = []byte("in/")

func inboundKey(id uint16) []byte {
	return binary.BigEndian.AppendUint16(bytes.Clone(inboundPrefix), id)
}

func loadInbound(st *buffer.Store, t *buffer.Table) (*inbound, error) {
	in := &inbound{store: st, table: t, ids: make(map[uint16]*arrival)}
	err := t.Each(func(key, _ []byte) error {
		if id, ok := bytes.CutPrefix(key, inboundPrefix); ok && len(id) == 2 {
			in.ids[binary.BigEndian.Uint16(id)] = &arrival{state: accepted}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the identifiers of received messages: %w", err)
	}
	return in, nil
}

// len is how many identifiers are in use.
func (in *inbound) len() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.ids)
}

// forget drops every identifier: the server has begun a new session.
func (in *inbound) forget(c *buffer.Change) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for id := range in.ids {
		c.Delete(in.table, inboundKey(id), buffer.Sync)
	}
	clear(in.ids)
}

// begin notes a PUBLISH. fresh means that the message is new, and to be published
// with keep in its Change; end must be called with the outcome. Otherwise the
// message is here already and the answer takes care of itself.
func (in *inbound) begin(l *link, id uint16, anew bool) (a *arrival, fresh bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	known := in.ids[id]
	switch {
	case known == nil, known.state == releasing, known.state == accepted && anew:
		a = &arrival{link: l, turn: l.take(&l.pubrecs, id)}
		in.ids[id] = a
		return a, true
	case known.state == accepted:
		l.ready(l.take(&l.pubrecs, id), 0) // [MQTT-4.3.3-10]
	case known.link != l:
		// The commit of an earlier connection's PUBLISH is under way: join it.
		known.link, known.turn = l, l.take(&l.pubrecs, id)
	}
	return nil, false
}

// keep is the part of the identifier in the Change of its message.
func (in *inbound) keep(c *buffer.Change, id uint16) {
	c.Put(in.table, inboundKey(id), []byte{1}, buffer.Sync)
}

// end takes the outcome of a fresh message, and says whom to answer.
func (in *inbound) end(id uint16, a *arrival, err error) (*link, *turn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	a.state = accepted
	if err != nil && in.ids[id] == a {
		delete(in.ids, id) // PUBREC with a failure frees the identifier (4.3.3)
	}
	return a.link, a.turn
}

// release notes a PUBREL. The answer leaves when the removal is on disk: before
// that, a new message with the identifier would be taken for the old one after a
// crash. ok is false if the identifier is not in use.
func (in *inbound) release(l *link, id uint16) (ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	a := in.ids[id]
	switch {
	case a == nil || a.state == accepting:
		return false
	case a.state == releasing && a.link == l:
		return true // asked twice in one connection, answered once
	}
	a.link, a.turn = l, l.take(&l.pubcomps, id)
	if a.state == releasing {
		return true
	}
	a.state = releasing
	c := in.store.Begin()
	c.Delete(in.table, inboundKey(id), buffer.Sync)
	c.Commit(func(err error) { in.released(id, a, err) })
	return true
}

func (in *inbound) released(id uint16, a *arrival, err error) {
	in.mu.Lock()
	l, t := a.link, a.turn
	if err == nil && in.ids[id] == a {
		delete(in.ids, id)
	}
	if err != nil {
		a.state, a.link, a.turn = accepted, nil, nil
	}
	in.mu.Unlock()
	if err != nil {
		l.fail(fmt.Errorf("remove the identifier of a received message: %w", err))
		return
	}
	l.ready(t, 0)
}
