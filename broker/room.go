package broker

import (
	"context"
	"time"

	"edgegateway/broker/packet"
)

// What waits for the disk is bounded. When the disk does not keep up, or takes
// nothing at all, this decides who waits, who is refused, and who is served all the
// same because nothing of his needs the disk.

// admitWait is how long a publisher waits for memory when the disk does not keep
// up. We chose it.
const admitWait = 10 * time.Second

var errDiskBehind = ErrRefused{packet.QuotaExceeded, "too much waits for the disk"}

// admitBatch takes memory for what may have to wait for the disk.
func (c *conn) admitBatch() error {
	var bytes int
	for i := range c.batch.items {
		if p := &c.batch.items[i].packet; p.QoS > 0 {
			bytes += len(p.Topic) + len(p.Payload) + recordHeader
		}
	}
	if bytes == 0 || c.b.store.Admits(bytes) || !c.batchNeedsDisk() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), admitWait)
	defer cancel()
	if err := c.b.store.Admit(ctx, bytes); err != nil {
		return errDiskBehind
	}
	return nil
}

// batchNeedsDisk reports whether anything of the batch has to be written before it
// can be acknowledged.
func (c *conn) batchNeedsDisk() bool {
	b := c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range c.batch.items {
		m := &c.batch.items[i]
		if m.refused != nil || m.packet.QoS == packet.QoS0 {
			continue
		}
		if m.packet.QoS == packet.QoS2 && c.session.durable ||
			b.routeLocked(m.packet.Topic).needsDisk(m.packet.QoS, m.packet.Retain) {
			return true
		}
	}
	return false
}

// needsDisk reports whether a message of QoS 1 or 2 is kept on disk for anybody.
func (r *route) needsDisk(qos packet.QoS, retain bool) bool {
	if retain {
		return true
	}
	for i := range r.targets {
		t := &r.targets[i]
		switch {
		case t.sub == nil:
			if t.session.keeps(min(qos, t.qos)) {
				return true
			}
		case t.sub.share != nil:
			for _, m := range t.sub.share.members {
				if m.session.keeps(min(qos, m.qos)) {
					return true
				}
			}
		}
	}
	return false
}

// keeps reports whether messages of a QoS go to a queue on disk.
func (s *Session) keeps(qos packet.QoS) bool {
	return s.durable && (qos > 0 || s.local != nil)
}

// roomFor reports whether a client can be taken in whose session is to outlive its
// connection. One whose session is there takes no memory that it does not have.
func (b *Broker) roomFor(p *packet.Connect) bool {
	if b.sessionExpiry(p) == 0 || b.store.Room() == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sessions[p.ClientID]
	return s != nil && s.durable && !p.CleanStart
}
