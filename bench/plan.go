package bench

import (
	"fmt"

	"edgegateway/broker/packet"
)

// A plan says who speaks and who listens where. A stream is what one publisher
// sends to one topic; stream i is publisher i mod publishers on topic i mod
// topics. So each publisher has at least one topic, and each topic at least one
// publisher: with one topic all meet there, with as many topics as clients they
// form pairs.
type plan struct {
	run                             string // sets this run's topics apart
	publishers, subscribers, topics int
}

func (p plan) streams() int { return max(p.publishers, p.topics) }

// hears reports whether subscriber s is to get what is sent to topic t.
func (p plan) hears(s, t int) bool {
	if p.topics >= p.subscribers {
		return t%p.subscribers == s
	}
	return s%p.topics == t
}

func (p plan) prefix() string { return "bench/" + p.run + "/" }

// digits is the last level of a topic, equally wide for all.
func (p plan) digits(t int) string {
	return fmt.Sprintf("%0*d", len(fmt.Sprint(p.topics-1)), t)
}

// filters are what subscriber s subscribes to.
func (p plan) filters(s int) []string {
	if p.subscribers == 1 && p.topics > 1 {
		return []string{p.prefix() + "+"}
	}
	var all []string
	for t := range p.topics {
		if p.hears(s, t) {
			all = append(all, p.prefix()+p.digits(t))
		}
	}
	return all
}

// template makes the packet that all messages of the run are made from.
func (p plan) template(c *Messages) template {
	body := make([]byte, c.Payload)
	for i := range body {
		body[i] = byte('a' + i%26)
	}
	topic := p.prefix() + p.digits(0)
	publish := packet.Publish{Topic: []byte(topic), Payload: body, ID: 1, QoS: c.QoS, Retain: c.Retain}
	if c.QoS == packet.QoS0 {
		publish.ID = 0
	}
	encoded, idAt := publish.AppendAt(nil, c.Target.Version)
	header := len(encoded) - c.Payload
	digits := header
	if c.Target.Version == packet.V5 {
		digits-- // an empty Property Length
	}
	if c.QoS > packet.QoS0 {
		digits -= 2
	}
	return template{bytes: encoded, idAt: idAt, stampAt: header, digitsAt: digits - len(p.digits(0))}
}

// A template is an encoded PUBLISH and where to patch it.
type template struct {
	bytes                   []byte
	digitsAt, idAt, stampAt int
}
