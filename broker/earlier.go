package broker

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"edgegateway/buffer"
)

// The session of a Local lives on in its queue, while its owner subscribes anew at
// every start. A subscription that existed before must not get the retained messages
// again [MQTT-3.3.1-10]: with the link down, the queue would grow by all of them at every
// restart. So filters are noted on disk, each with a digest of its purpose. A note is
// written behind the messages that it speaks of: a power cut between the two makes them
// arrive twice, and never not at all.

const (
	localsTable = "broker.locals"
	localPrefix = "local/" // begins the identifier of the session of a Local
)

// earlierKey: neither a filter nor what stands before it has a NUL [MQTT-4.7.3-2].
func earlierKey(id, filter string) string { return id + "\x00" + filter }

func digest(purpose string) string {
	sum := sha256.Sum256([]byte(purpose))
	return string(sum[:8])
}

func (b *Broker) loadEarlier() error {
	b.earlier = make(map[string]string)
	err := b.tables.locals.Each(func(key, value []byte) error {
		b.earlier[string(key)] = string(value)
		return nil
	})
	if err != nil {
		return fmt.Errorf("load what sessions inside the process had subscribed to: %w", err)
	}
	return nil
}

// notedLocked reports whether a filter is noted, and whether for the same purpose.
func (s *Session) notedLocked(filter, purpose string) (known, same bool) {
	was, known := s.b.earlier[earlierKey(s.id, filter)]
	return known, known && was == digest(purpose)
}

// note remembers a subscription for the next run. The retained messages that it got have
// been committed.
func (s *Session) note(filter, purpose string) {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, same := s.notedLocked(filter, purpose); same || s.subs.get(filter) == nil {
		return
	}
	key := earlierKey(s.id, filter)
	b.earlier[key] = digest(purpose)
	c := b.store.Begin()
	c.Put(b.tables.locals, []byte(key), []byte(b.earlier[key]), buffer.Lazy)
	c.Commit(nil)
}

func (b *Broker) forgetLocked(c *buffer.Change, key string) {
	if _, ok := b.earlier[key]; ok {
		delete(b.earlier, key)
		c.Delete(b.tables.locals, []byte(key), buffer.Lazy)
	}
}

// forgetLost is for a session whose queue is not there any more. What its notes speak
// of may have been in it, so they go before there is a new one.
func (b *Broker) forgetLost(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.store.Begin()
	for key := range b.earlier {
		if strings.HasPrefix(key, earlierKey(id, "")) {
			b.forgetLocked(c, key)
		}
	}
	c.Commit(nil)
}

// forgetEarlier takes away what only earlier runs had subscribed to: from here on
// messages move that such a filter would miss.
func (b *Broker) forgetEarlier() {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.store.Begin()
	for key := range b.earlier {
		id, filter, _ := strings.Cut(key, "\x00")
		if s := b.locals[id]; s == nil || s.subs.get(filter) == nil {
			b.forgetLocked(c, key)
		}
	}
	c.Commit(nil)
}

// ForgetSession has the durable session of the Local of this name go with a Change: its
// queue, and what is known of its subscriptions. The session must not be open in this
// run.
func ForgetSession(c *buffer.Change, st *buffer.Store, name string) error {
	id := localPrefix + name
	t := st.Table(localsTable)
	err := t.Each(func(key, _ []byte) error {
		if strings.HasPrefix(string(key), earlierKey(id, "")) {
			c.Delete(t, key, buffer.Lazy)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the subscriptions of session %q: %w", id, err)
	}
	if q := st.Find(id); q != nil {
		st.DropQueue(c, q)
	}
	return nil
}
