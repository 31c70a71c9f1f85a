package main_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// publisher sends messages of QoS 1 and 2, several at a time, and holds some of its
// handshakes open. It uses few identifiers, and so each often.
type publisher struct {
	t       *testing.T
	address string
	version packet.Version
	name    string
	r       *rand.Rand

	c      *brokertest.Client
	number int
	open   []uint16 // PUBREC has come, PUBREL was not sent
	next   uint16
}

const identifiersUsed = 24

func (p *publisher) run() {
	p.connect()
	for round := range 60 {
		if round%15 == 7 {
			p.breakOff()
		}
		p.finish(len(p.batch(p.r.IntN(6)+1, p.r.IntN(3) == 0)), 0)
		for len(p.open) > 8 {
			p.release(p.r.IntN(len(p.open)))
		}
	}
}

func (p *publisher) connect() {
	p.c, _ = brokertest.Connect(p.t, p.address, p.version, &packet.Connect{ClientID: p.name, SessionExpiry: 3600})
	p.c.WaitFor(tooLong)
}

// identifier returns one that is not in use.
func (p *publisher) identifier() uint16 {
	for {
		p.next = p.next%identifiersUsed + 1
		if !slices.Contains(p.open, p.next) {
			return p.next
		}
	}
}

// batch sends n messages and returns them.
func (p *publisher) batch(n int, onlyQoS2 bool) (sent []packet.Packet) {
	for range n {
		p.number++
		kind := []string{"a", "a", "local", "kept"}[p.r.IntN(4)]
		m := fmt.Sprintf("%s %d %s", p.name, p.number, kind)
		qos := packet.QoS1 + packet.QoS(p.r.IntN(2))
		if onlyQoS2 {
			qos = packet.QoS2
		}
		sent = append(sent, &packet.Publish{Topic: []byte(topicOf(m)), Payload: payload(m), QoS: qos, ID: p.identifier(), Retain: kind == "kept"})
	}
	p.c.Send(sent...)
	return sent
}

// finish waits until so many messages are acknowledged, and so many handshakes have
// ended. It answers most PUBRECs.
func (p *publisher) finish(waits, completing int) {
	for waits > 0 || completing > 0 {
		a, ok := p.c.Receive().(*packet.Ack)
		switch {
		case !ok:
		case a.Code.IsError():
			p.t.Errorf("%v of %d: %v", a.Kind, a.ID, a.Code)
			return
		case a.Kind == packet.PUBCOMP:
			completing--
		case a.Kind == packet.PUBREC && p.r.IntN(3) == 0:
			p.open = append(p.open, a.ID)
			waits--
		case a.Kind == packet.PUBREC:
			p.c.Send(&packet.Ack{Kind: packet.PUBREL, ID: a.ID})
			completing++
			waits--
		default:
			waits--
		}
	}
}

// release ends one of the open handshakes.
func (p *publisher) release(i int) {
	p.c.Send(&packet.Ack{Kind: packet.PUBREL, ID: p.open[i]})
	p.c.Receive()
	p.open = slices.Delete(p.open, i, i+1)
}

// breakOff loses the connection with messages on the way, and sends them again.
func (p *publisher) breakOff() {
	sent := p.batch(5, true)
	p.c.Drop()
	p.connect()
	for _, m := range sent {
		m.(*packet.Publish).DUP = true
	}
	p.c.Send(sent...)
	open := p.open
	p.open = nil
	for _, id := range open { // [MQTT-4.4.0-1]
		p.c.Send(&packet.Ack{Kind: packet.PUBREL, ID: id})
	}
	p.finish(len(sent), len(open))
}

// presence takes messages and acknowledges them, some of them late.
type presence struct {
	t *testing.T
	r *rand.Rand
	c *brokertest.Client
}

func (p *presence) run() {
	var late []packet.Packet
	for {
		var answer packet.Packet
		switch m := p.c.Receive().(type) {
		case *packet.Publish:
			if is, _ := messageIn(m.Payload); is == lastMessage {
				return
			}
			answer = &packet.Ack{Kind: packet.PUBACK, ID: m.ID}
			if m.QoS == packet.QoS2 {
				answer = &packet.Ack{Kind: packet.PUBREC, ID: m.ID}
			}
		case *packet.Ack:
			answer = &packet.Ack{Kind: packet.PUBCOMP, ID: m.ID}
		default:
			continue
		}
		late = append(late, answer)
		if len(late) > 5 || p.r.IntN(2) == 0 {
			p.c.Send(late...)
			late = nil
		}
	}
}
