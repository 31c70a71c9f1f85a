package broker

import (
	"bytes"

	"edgegateway/buffer"
)

// A restored backup is older than what clients remember of their sessions. A packet
// identifier that it believes to be in use would make a new message look like a
// repetition, and one that it believes to be free may be in use at the client, with
// the same effect there. So every handshake is distrusted: identifiers of received
// messages are forgotten, and a session from the backup is called new once, when its
// client comes back. Told that there is no session [MQTT-3.2.2-3] [v3 MQTT-3.2.2-3], the
// client discards its own state of handshakes [MQTT-3.2.2-5]. Subscriptions and queue stay:
// they are what the client had asked for, and its messages are sent as new ones.

// staleSession is part of the version of a session on disk.
const staleSession = 0x80

var lineageKey = []byte("lineage")

// distrustHandshakes looks whether the store goes on where it stopped.
func (b *Broker) distrustHandshakes() error {
	have := b.store.Lineage()
	known, ok, err := b.tables.meta.Get(lineageKey)
	if err != nil {
		return err
	}
	if bytes.Equal(known, have[:]) || !ok && have == [8]byte{} {
		return nil
	}
	c := b.store.Begin()
	sessions := 0
	err = b.tables.sessions.Each(func(key, value []byte) error {
		if len(value) > 0 {
			value[0] |= staleSession
			c.Put(b.tables.sessions, key, value, buffer.Sync)
			sessions++
		}
		return nil
	})
	if err == nil {
		err = b.tables.received.Each(func(key, _ []byte) error {
			c.Delete(b.tables.received, key, buffer.Sync)
			return nil
		})
	}
	if err == nil {
		// Nobody knows what a cloud has had of the retained messages.
		err = b.tables.locals.Each(func(key, _ []byte) error {
			c.Delete(b.tables.locals, key, buffer.Sync)
			return nil
		})
	}
	c.Put(b.tables.meta, lineageKey, have[:], buffer.Sync)
	if err != nil {
		return err
	}
	c.Commit(nil)
	if sessions == 0 {
		return nil
	}
	b.log.Warn("the store is a restored one: every client is told once that its session is new; it keeps its subscriptions and the messages that wait", "sessions", sessions)
	return nil
}
