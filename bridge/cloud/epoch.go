package cloud

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgegateway/buffer"
)

// epoch says to which session the unfinished handshakes on disk belong: the
// received marks of the queue and the identifiers that came in. They mean
// something to that one session of that one server and would do harm in another:
// a stale identifier makes a new message look like a duplicate.
//
// An attempt is written before CONNECT goes out and cleared after CONNACK. Where
// one is found, the server may have begun a new session without our seeing it: see
// doubt.go.
type epoch struct {
	Server   string   `json:"server"`
	ClientID string   `json:"client_id"`
	Assigned string   `json:"assigned,omitempty"` // client identifier that the server gave us in its place
	Number   uint64   `json:"number"`             // counts sessions; 0: there was none yet
	Attempt  string   `json:"attempt,omitempty"`  // server of a CONNECT at that session whose CONNACK was not seen
	Filters  []string `json:"filters,omitempty"`  // subscribed in that session
	Marker   string   `json:"marker,omitempty"`   // subscribed in that session, with others like it, to know it by
	Asked    int      `json:"asked,omitempty"`    // how many of them were asked for, and are gone
	Lineage  string   `json:"lineage,omitempty"`  // of the store: another one in a restored backup
}

// distrust makes an epoch from a restored backup, and what belongs to it, one that
// never was: the session has gone on without what the backup knows of it, so one that
// the server has is foreign. The messages stay, as new ones.
func (b *Bridge) distrust() error {
	lineage := ""
	if l := b.store.Lineage(); l != [8]byte{} {
		lineage = hex.EncodeToString(l[:])
	}
	if b.epoch.Lineage == lineage {
		return nil
	}
	if b.epoch.Number > 0 {
		b.log.Warn("the store is a restored one: the session with the cloud begins anew, and what waits is sent as new", "queued", b.queue.Stats().Messages)
	}
	b.epoch = epoch{Lineage: lineage}
	c := b.store.Begin()
	c.Forget(b.queue, buffer.Sync)
	b.inbound.forget(c)
	err := b.epoch.put(c, b.table)
	c.Commit(nil) // before everything that Run writes
	return err
}

var epochKey = []byte("epoch")

func loadEpoch(t *buffer.Table) (e epoch, err error) {
	b, ok, err := t.Get(epochKey)
	if err != nil {
		return epoch{}, fmt.Errorf("read the state of the session: %w", err)
	}
	if !ok || json.Unmarshal(b, &e) != nil {
		// Unreadable is as good as absent: the session will begin anew.
		return epoch{}, nil
	}
	return e, nil
}

func (e epoch) put(c *buffer.Change, t *buffer.Table) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	c.Put(t, epochKey, b, buffer.Sync)
	return nil
}

// errForeignSession means that the server has a session of ours that we know
// nothing of; the next CONNECT must be one with Clean Start [MQTT-3.2.2-4].
var errForeignSession = errors.New("the server has a session that this gateway does not know; it will be replaced")

// belongs reports whether a session that the server has is the one of the epoch.
func (b *Bridge) belongs(s server) bool {
	return b.epoch.Number > 0 && b.epoch.ClientID == b.clientID &&
		(b.cfg.ServersShareSession || b.epoch.Server == s.url)
}

// identity is the client identifier for a CONNECT to s.
func (b *Bridge) identity(s server) string {
	if b.belongs(s) && b.epoch.Assigned != "" {
		return b.epoch.Assigned // 3.2.2.3.7
	}
	return b.clientID
}

// attempt makes sure, before CONNECT, that the disk knows of it. unsure says that
// an earlier attempt at the same session was never answered. A session of another
// server needs no such care: whatever it holds is not ours.
func (b *Bridge) attempt(ctx context.Context, s server) (unsure bool, err error) {
	if !b.belongs(s) {
		return false, nil
	}
	if b.epoch.Attempt != "" {
		return true, nil
	}
	next := b.epoch
	next.Attempt = s.url
	return false, b.writeEpoch(ctx, b.store.Begin(), next)
}

// writeEpoch commits a Change with the epoch that is valid from then on.
func (b *Bridge) writeEpoch(ctx context.Context, c *buffer.Change, next epoch) error {
	if err := next.put(c, b.table); err != nil {
		return errors.Join(err, commit(ctx, c))
	}
	if err := commit(ctx, c); err != nil {
		return err
	}
	b.epoch = next
	return nil
}

// beginAnew is for a session that has just begun: no handshake is under way in it.
func (b *Bridge) beginAnew(c *buffer.Change, e *epoch) {
	if e.Number > 0 {
		b.counts.sessionsLost.Add(1)
	}
	e.Number++
	e.Filters, e.Marker, e.Asked = b.filters(), "", 0
	c.Forget(b.queue, buffer.Sync)
	b.inbound.forget(c)
}

// settleEpoch takes the word of CONNACK on the session, and returns when it is
// on disk: no other packet is handled before [MQTT-3.2.2-5]. In doubt the attempt
// stays, until it is decided.
func (b *Bridge) settleEpoch(ctx context.Context, s server, present, cleanStart, doubt bool, assigned string) error {
	next := b.epoch
	if !b.belongs(s) {
		next.Assigned = ""
	}
	next.Server, next.ClientID = s.url, b.clientID
	if assigned != "" {
		next.Assigned = assigned
	}
	if !doubt {
		next.Attempt = ""
	}
	c := b.store.Begin()
	switch {
	case present && cleanStart: // [MQTT-3.2.2-2]
		return errors.New("the server says that it kept the session that it was told to discard")
	case present && !b.belongs(s):
		return errForeignSession
	case present:
		next.Filters = union(b.epoch.Filters, b.filters())
	default:
		b.beginAnew(c, &next)
	}
	c.Attach(b.queue, buffer.Sync)
	return b.writeEpoch(ctx, c, next)
}

// filters are those of the routes down.
func (b *Bridge) filters() (f []string) {
	for _, r := range b.cfg.Down {
		f = append(f, r.From)
	}
	return f
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// commitTimeout bounds the wait for the disk while a server waits for us.
const commitTimeout = 30 * time.Second

// commit returns when the Change is on disk.
func commit(ctx context.Context, c *buffer.Change) error {
	done := make(chan error, 1)
	c.Commit(func(err error) { done <- err })
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("write the state of the session: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("write the state of the session: %w", ctx.Err())
	}
}
