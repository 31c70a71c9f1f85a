package e2e_test

import "edgegateway/broker/packet"

// ledger is what one side of a link sent, over all connections.
type ledger struct {
	sent     map[message]uint16
	byID     map[uint16]message // the last one that was sent under it
	released map[message]bool   // PUBREL was sent for it
	repeated map[message]bool   // QoS 2, under another identifier, or after PUBREL [MQTT-4.3.3-6]

	highest   map[string]int   // topic -> highest number in this connection
	first     map[string]int   // topic -> highest number ever
	disorders map[message]bool // sent after a higher one in this connection, or for the first time after a higher one
}

func newLedger() *ledger {
	return &ledger{
		sent: map[message]uint16{}, byID: map[uint16]message{}, released: map[message]bool{}, repeated: map[message]bool{},
		highest: map[string]int{}, first: map[string]int{}, disorders: map[message]bool{},
	}
}

// publish notes a message. It returns false for what no sender of ours published.
func (l *ledger) publish(p *packet.Publish) bool {
	n, ok := number(p)
	if !ok || p.QoS == 0 {
		return false // the status
	}
	m := message{string(p.Topic), n}
	id, known := l.sent[m]
	if p.QoS == packet.QoS2 && known && (id != p.ID || l.released[m]) {
		l.repeated[m] = true
	}
	l.sent[m], l.byID[p.ID] = p.ID, m
	if n < l.highest[m.topic] || !known && n < l.first[m.topic] {
		l.disorders[m] = true
	}
	l.highest[m.topic], l.first[m.topic] = max(l.highest[m.topic], n), max(l.first[m.topic], n)
	return true
}

func (l *ledger) pubrel(a *packet.Ack) {
	if m, ok := l.byID[a.ID]; ok && a.Kind == packet.PUBREL {
		l.released[m] = true
	}
}
