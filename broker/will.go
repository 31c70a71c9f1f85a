package broker

import (
	"encoding/binary"
	"fmt"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// willGrace is how long a client that was connected when the gateway stopped has
// to come back before its will is published. We chose it.
const willGrace = 30 * time.Second

// will is the message that is published when a client is gone.
type will struct {
	client     string
	generation uint64 // of the session; the key on disk
	delay      uint32 // seconds
	due        int64  // when it is published, by the clock; 0: the client is connected
	message    packet.Publish
}

func newWill(s *Session, w *packet.Will) *will {
	return &will{
		client:     s.id,
		generation: s.generation,
		delay:      w.Delay,
		message: packet.Publish{
			Topic:      []byte(w.Topic),
			Payload:    w.Payload,
			QoS:        w.QoS,
			Retain:     w.Retain,
			ID:         1, // a place for it
			Properties: w.Properties,
		},
	}
}

// A will on disk: delay, due, the client identifier with its length, and an
// encoded MQTT 5 PUBLISH.
func (w *will) value() []byte {
	m := w.message
	if m.QoS == 0 {
		m.ID = 0
	}
	b := binary.BigEndian.AppendUint32(nil, w.delay)
	b = binary.BigEndian.AppendUint64(b, uint64(w.due))
	b = binary.BigEndian.AppendUint16(b, uint16(len(w.client)))
	b = append(b, w.client...)
	return m.Append(b, packet.V5)
}

func (w *will) key() []byte { return binary.BigEndian.AppendUint64(nil, w.generation) }

func decodeWill(key, value []byte) (*will, error) {
	if len(key) != 8 || len(value) < 14 {
		return nil, errRecord
	}
	n := int(binary.BigEndian.Uint16(value[12:]))
	if len(value) < 14+n {
		return nil, errRecord
	}
	v := recordView{packet: value[14+n:]}
	if len(v.packet) == 0 {
		return nil, errRecord
	}
	p, err := v.decode()
	if err != nil {
		return nil, err
	}
	return &will{
		client:     string(value[14 : 14+n]),
		generation: binary.BigEndian.Uint64(key),
		delay:      binary.BigEndian.Uint32(value),
		due:        int64(binary.BigEndian.Uint64(value[4:])),
		message:    *p,
	}, nil
}

// loadWills schedules the wills that were waiting when the gateway stopped, and
// those of clients that were connected: nobody is, now.
func (b *Broker) loadWills() error {
	err := b.tables.wills.Each(func(key, value []byte) error {
		w, err := decodeWill(key, value)
		if err != nil {
			b.log.Error("skip a will on disk that can not be read", "key", fmt.Sprintf("%x", key), "err", err)
			return nil
		}
		if w.due == 0 {
			w.due = b.clock.now() + max(willGrace.Milliseconds(), 1000*int64(w.delay))
		}
		// A connection in time takes it back.
		if s := b.sessions[w.client]; s != nil && s.generation == w.generation {
			s.will = w
			b.scheduleLocked(s)
			return nil
		}
		b.lostWills[w.client] = w
		b.agenda.add(w.due, func(k *work) {
			if b.lostWills[w.client] == w {
				delete(b.lostWills, w.client)
				b.publishWillLocked(w, k)
			}
		})
		return nil
	})
	if err != nil {
		return fmt.Errorf("load wills: %w", err)
	}
	return nil
}

// publishWillLocked publishes a will. It leaves the disk with the same commit that
// brings the message there.
func (b *Broker) publishWillLocked(w *will, k *work) {
	p := &b.own
	p.renew(b)
	p.payload = w.message.Payload
	p.qos = w.message.QoS
	p.retain = w.message.Retain
	p.props = &w.message.Properties
	p.origin = w.client
	p.noReply = true
	p.at = time.Now()
	p.route = b.routeLocked(w.message.Topic)
	p.within = func(c *buffer.Change) { c.Delete(b.tables.wills, w.key(), p.urgency()) }
	b.stats.Wills++
	if err := b.publishLocked(p, k); err != nil {
		b.log.Warn("the will of a client is refused", "client", w.client, "err", err)
		b.forgetWillLocked(w)
	}
}

func (b *Broker) forgetWillLocked(w *will) {
	c := b.store.Begin()
	c.Delete(b.tables.wills, w.key(), buffer.Lazy)
	c.Commit(nil)
}
