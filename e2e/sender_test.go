package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"edgegateway/broker/packet"
)

// sender publishes numbered messages, QoS 1 and QoS 2 in turn, and does what the
// standard asks of a client whose connection breaks: it connects to the same
// session and sends again, in the original order and with the same identifiers
// [MQTT-4.4.0-1] [MQTT-4.6.0-1] [v3 MQTT-4.4.0-1] [v3 MQTT-4.6.0-1].
type sender struct {
	addr    string
	connect packet.Connect
	window  int
	random  *rand.Rand      // the sizes of its messages
	enough  <-chan struct{} // closed when nothing new is to be published
	onSafe  func()          // called once for each message that is acknowledged
	rate    float64         // messages per second; 0: as fast as the window lets it
	roots   [3]string       // of its topics, by QoS; "": load

	began     time.Time
	next      int // number of the next message over both QoS
	lastID    uint16
	inflight  []flight
	connected bool // at least once

	sessionsLost atomic.Int64 // Session Present 0 at a reconnect
	reconnects   atomic.Int64
}

// flight is one message between PUBLISH and its last acknowledgement.
type flight struct {
	id       uint16
	n        int
	qos      packet.QoS
	size     int
	released bool // PUBREC has come: PUBREL is to be sent, never PUBLISH again
}

func (s *sender) topic(qos packet.QoS) string {
	return fmt.Sprintf("%s/%s/q%d", cmp.Or(s.roots[qos], "load"), s.connect.ClientID, qos)
}

// sent is how many messages of one QoS there are.
func (s *sender) sent(qos packet.QoS) int { return (s.next + int(2-qos)) / 2 }

func (s *sender) publish(f flight, dup bool) *packet.Publish {
	payload := strconv.AppendInt(nil, int64(f.n), 10)
	payload = append(payload, ' ')
	return &packet.Publish{
		Topic:   []byte(s.topic(f.qos)),
		Payload: append(payload, strings.Repeat(".", f.size)...),
		QoS:     f.qos, ID: f.id, DUP: dup,
	}
}

// number is that of a message, and false for what a sender did not publish.
func number(p *packet.Publish) (n int, ok bool) {
	text, _, ok := strings.Cut(string(p.Payload), " ")
	n, err := strconv.Atoi(text)
	return n, ok && err == nil
}

// run returns nil when there is enough and everything is acknowledged.
func (s *sender) run(ctx context.Context) error {
	s.began = time.Now()
	for {
		c, present, err := dialAs(s.addr, s.connect)
		if err == nil {
			if s.connected {
				s.reconnects.Add(1)
				if !present {
					s.sessionsLost.Add(1)
				}
			}
			s.connected = true
			stop := context.AfterFunc(ctx, func() { c.Close() })
			err = s.drive(c, present)
			stop()
			c.Close()
			if err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %d sent, %d in flight: %w (last: %v)", s.connect.ClientID, s.next, len(s.inflight), ctx.Err(), err)
		case <-time.After(20 * time.Millisecond): // the broker is away: try again
		}
	}
}

// more reports whether one more message is to be published now.
func (s *sender) more() bool {
	select {
	case <-s.enough:
		return false
	default:
		return len(s.inflight) < s.window && s.due() <= 0
	}
}

// due is how long it is until the next message is due.
func (s *sender) due() time.Duration {
	if s.rate == 0 {
		return 0
	}
	return time.Until(s.began.Add(time.Duration(float64(s.next) / s.rate * float64(time.Second))))
}

// drive sends and reads on one connection until all is done or it breaks.
func (s *sender) drive(c *conn, present bool) error {
	var out []packet.Packet
	for i := range s.inflight {
		f := &s.inflight[i]
		if !present {
			f.released = false
		}
		if f.released {
			out = append(out, &packet.Ack{Kind: packet.PUBREL, ID: f.id})
		} else {
			out = append(out, s.publish(*f, present))
		}
	}
	for {
		if !c.buffered() { // answer all that has come with one write
			for s.more() {
				s.lastID = s.lastID%65535 + 1
				f := flight{id: s.lastID, n: s.next / 2, qos: packet.QoS(1 + s.next%2), size: s.random.IntN(200)}
				if s.random.IntN(100) == 0 {
					f.size = s.random.IntN(10_000) // more than one page of the store
				}
				s.inflight = append(s.inflight, f)
				s.next++
				out = append(out, s.publish(f, false))
			}
			if err := c.send(out...); err != nil {
				return err
			}
			out = out[:0]
		}
		if len(s.inflight) == 0 {
			select {
			case <-s.enough:
				return c.send(&packet.Disconnect{})
			case <-time.After(s.due()):
				continue
			}
		}
		p, err := c.read()
		if err != nil {
			return err
		}
		ack, ok := p.(*packet.Ack)
		// PUBCOMP with "packet identifier not found" ends the handshake all the same:
		// a PUBREL that was sent again may find it ended (3.7.2.1).
		if !ok || ack.Code.IsError() && ack.Kind != packet.PUBCOMP {
			return fmt.Errorf("%s: unexpected %v %+v", s.connect.ClientID, p.Type(), p)
		}
		if ack.Kind == packet.PUBREC {
			for i := range s.inflight {
				if s.inflight[i].id == ack.ID {
					s.inflight[i].released = true
				}
			}
			out = append(out, &packet.Ack{Kind: packet.PUBREL, ID: ack.ID})
			continue
		}
		for i, f := range s.inflight {
			if f.id == ack.ID && (f.qos == packet.QoS1) == (ack.Kind == packet.PUBACK) {
				s.inflight = append(s.inflight[:i], s.inflight[i+1:]...)
				s.onSafe()
				break
			}
		}
	}
}
