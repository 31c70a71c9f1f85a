package broker

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// tables is where the broker's state lies beside the queues.
type tables struct {
	meta          *buffer.Table
	sessions      *buffer.Table // generation -> sessionRecord
	subscriptions *buffer.Table // generation, number -> subscription
	received      *buffer.Table // generation, packet identifier -> nothing: inbound QoS 2
	wills         *buffer.Table // generation -> will
	retained      *buffer.Table // topic -> record
	runs          *buffer.Table // tag -> random bytes and number of a run
	locals        *buffer.Table // session of a Local, NUL, filter -> purpose: see earlier.go
}

func openTables(s *buffer.Store) tables {
	return tables{
		meta:          s.Table("broker.meta"),
		sessions:      s.Table("broker.sessions"),
		subscriptions: s.Table("broker.subscriptions"),
		received:      s.Table("broker.received"),
		wills:         s.Table("broker.wills"),
		retained:      s.Table("broker.retained"),
		runs:          s.Table("broker.runs"),
		locals:        s.Table(localsTable),
	}
}

// topicKey is the key of a topic. Keys of the store are shorter than topics may
// be, so a long one is a digest; no topic begins with NUL [MQTT-4.7.3-2].
func topicKey(name string) []byte {
	if len(name) <= 1024 {
		return []byte(name)
	}
	sum := sha256.Sum256([]byte(name))
	return append([]byte{0}, sum[:]...)
}

func (s *Session) receivedKey(id uint16) []byte {
	return binary.BigEndian.AppendUint16(s.key(), id)
}

// clientQueues begins the names of the queues of clients.
const clientQueues = "client/"

// queueName is for people, too: who looks into the store finds the client.
func (s *Session) queueName() string {
	id := strings.ToValidUTF8(s.id[:min(len(s.id), 64)], "")
	return fmt.Sprintf("%s%s/%016x", clientQueues, id, s.generation)
}

// value is the session on disk: version, expiry, the time when it ends if it is
// offline, and the client identifier.
func (s *Session) value() []byte {
	b := append(make([]byte, 0, 13+len(s.id)), byte(s.version))
	if s.stale {
		b[0] |= staleSession
	}
	b = binary.BigEndian.AppendUint32(b, s.expiry)
	b = binary.BigEndian.AppendUint64(b, uint64(s.due))
	return append(b, s.id...)
}

func (s *Session) putLocked(c *buffer.Change, u buffer.Urgency) {
	c.Put(s.b.tables.sessions, s.key(), s.value(), u)
}

// load reads sessions, subscriptions, identifiers, wills and retained messages.
func (b *Broker) load() error {
	if err := b.distrustHandshakes(); err != nil {
		return fmt.Errorf("look through a restored store: %w", err)
	}
	byGeneration := make(map[uint64]*Session)
	err := b.tables.sessions.Each(func(key, value []byte) error {
		if len(key) != 8 || len(value) < 13 {
			b.log.Error("skip a session on disk that can not be read", "key", fmt.Sprintf("%x", key))
			return nil
		}
		s := &Session{
			b:          b,
			number:     fnv(string(value[13:])),
			generation: binary.BigEndian.Uint64(key),
			durable:    true,
			limits:     b.limits,
			version:    packet.Version(value[0] &^ staleSession),
			stale:      value[0]&staleSession != 0,
			expiry:     binary.BigEndian.Uint32(value[1:]),
			due:        int64(binary.BigEndian.Uint64(value[5:])),
			id:         string(value[13:]),
		}
		byGeneration[s.generation] = s
		return nil
	})
	if err != nil {
		return fmt.Errorf("load sessions: %w", err)
	}
	if err := b.loadSubscriptions(byGeneration); err != nil {
		return err
	}
	err = b.tables.received.Each(func(key, _ []byte) error {
		if len(key) == 10 {
			if s := byGeneration[binary.BigEndian.Uint64(key)]; s != nil {
				s.in.restore(binary.BigEndian.Uint16(key[8:]))
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load packet identifiers: %w", err)
	}
	for _, s := range byGeneration {
		if err := b.resumeLocked(s); err != nil {
			return err
		}
	}
	if err := b.loadRetained(); err != nil {
		return err
	}
	if err := b.loadEarlier(); err != nil {
		return err
	}
	return b.loadWills()
}

func (b *Broker) loadSubscriptions(byGeneration map[uint64]*Session) error {
	err := b.tables.subscriptions.Each(func(key, value []byte) error {
		generation, sub, ok := decodeSubscription(key, value)
		if !ok {
			b.log.Error("skip a subscription on disk that can not be read", "key", fmt.Sprintf("%x", key))
			return nil
		}
		s := byGeneration[generation]
		if s == nil {
			return nil
		}
		sub.session = s
		s.subs.add(sub)
		s.nextSub = max(s.nextSub, sub.number+1)
		b.joinLocked(sub)
		return nil
	})
	if err != nil {
		return fmt.Errorf("load subscriptions: %w", err)
	}
	return nil
}

// resumeLocked brings a session from disk to life, without a connection. One that
// was connected when the gateway stopped counts as ended now.
func (b *Broker) resumeLocked(s *Session) error {
	q, err := b.store.Queue(s.queueName(), s.limits)
	if err != nil {
		return fmt.Errorf("open the queue of client %q: %w", s.id, err)
	}
	s.queue = q
	q.Notify(s.pull)
	if s.due == 0 {
		s.due = s.endsAt(b.clock.now())
	}
	if s.expiry == 0 { // it ended with its connection, or before
		b.dropSessionLocked(s, nil)
		return nil
	}
	b.sessions[s.id] = s
	b.scheduleLocked(s)
	return nil
}

// endsAt is when a session ends whose connection ended at now.
func (s *Session) endsAt(now int64) int64 {
	if s.expiry == neverExpires {
		return 1<<63 - 1
	}
	return now + 1000*int64(s.expiry)
}

// dropSessionLocked ends a session: its subscriptions, queue and handshakes. What
// it leaves to members of its shared subscriptions stays in the queue: of a session
// in memory until w is finished, of one on disk until everything of it is there,
// with the session as one that has ended.
func (b *Broker) dropSessionLocked(s *Session, w *work) {
	if !s.gone && s.queue != nil {
		q := s.queue.Stats()
		b.stats.countQueue(&q)
	}
	s.gone = true
	if b.sessions[s.id] == s {
		delete(b.sessions, s.id)
	}
	var change *buffer.Change
	if s.durable {
		change = b.store.Begin()
	}
	for _, sub := range s.subs.list {
		b.partLocked(sub)
		if change != nil {
			change.Delete(b.tables.subscriptions, sub.key(), buffer.Lazy)
		}
	}
	s.subs = subscriptionSet{}
	heirs := b.heirsLocked(s)
	if change == nil {
		if heirs {
			w.ended = append(w.ended, s)
		}
		return
	}
	s.mu.Lock()
	for id := range s.in.known {
		change.Delete(b.tables.received, s.receivedKey(id), buffer.Lazy)
	}
	s.in = incoming{}
	s.mu.Unlock()
	erased := make(chan struct{})
	s.erased = erased
	if heirs {
		s.expiry = 0
		s.putLocked(change, buffer.Sync)
		change.Commit(func(err error) {
			close(erased)
			if err == nil { // else it is for the next start
				b.leavers.add(s)
				b.agendaChanged()
			}
		})
		return
	}
	// Sync: a client that is told of a new session may not find the old one again
	// after a power cut [MQTT-3.1.2-4].
	change.Delete(b.tables.sessions, s.key(), buffer.Sync)
	b.store.DropQueue(change, s.queue)
	change.Commit(func(error) { close(erased) })
}
