package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"

	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
	"edgegateway/buffer/powercut"
)

// world is what everyone outside a gateway has been told, and has said, up to a moment:
// what crossed its MQTT connections, and what has to be on its disk for that.
type world struct {
	conns  map[string]*wire
	sender map[string]*sending   // by client identifier
	getter map[string]*receiving // by queue, up to the generation of the session
	heard  map[string]int        // how often a message was read from its publisher
	qos2   map[string]bool
	safe   map[string]bool
	kept   map[string]string // topic -> the newest retained message that is safe
}

// wire is a connection.
type wire struct {
	in, out        packet.Decoder
	inBuf, outBuf  []byte
	sender         *sending
	getter         *receiving
	begunByGateway bool
}

// sending is a client as a publisher.
type sending struct {
	version   packet.Version
	published map[uint16]string // by identifier, what was read with it last
	known     map[uint16]bool   // PUBREC has left, PUBREL was not read
	free      map[uint16]bool   // PUBCOMP has left, nothing was read with it since
}

// receiving is a client, or a cloud, as a subscriber.
type receiving struct {
	wants    func(m string) bool
	sent     map[string]uint16 // message -> identifier
	by       map[uint16]string // and back
	released map[string]bool   // PUBREL has left
	done     map[string]bool   // it has acknowledged
}

const cloudQueue = "local/cloud/acme"

// These come behind all others: to the one who is present, and to everyone.
const (
	lastMessage = "last 1 local"
	lastShared  = "last 2 a"
)

func newWorld() *world {
	w := &world{
		conns: make(map[string]*wire), sender: make(map[string]*sending), getter: make(map[string]*receiving),
		heard: make(map[string]int), qos2: make(map[string]bool), safe: make(map[string]bool), kept: make(map[string]string),
	}
	all := func(string) bool { return true }
	shared := func(m string) bool { return !strings.HasSuffix(m, " local") }
	for queue, wants := range map[string]func(string) bool{"client/absent": shared, "client/present": all, cloudQueue: shared} {
		w.getter[queue] = &receiving{wants, make(map[string]uint16), make(map[uint16]string), make(map[string]bool), make(map[string]bool)}
	}
	return w
}

// A message is "publisher number kind", and in its payload some bytes more that follow
// from that.
func payload(m string) []byte {
	h := fnv.New32a()
	io.WriteString(h, m)
	sum := h.Sum32()
	return append([]byte(m+"|"), bytes.Repeat([]byte{byte(sum)}, int(sum>>8%400))...)
}

func messageIn(p []byte) (m string, whole bool) {
	text, _, _ := strings.Cut(string(p), "|")
	return text, bytes.Equal(p, payload(text))
}

func numberOf(m string) int {
	f := strings.Fields(m)
	if len(f) != 3 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}

// take takes in what crossed a socket.
func (w *world) take(e powercut.Event) error {
	c := w.conns[e.Name]
	if c == nil {
		c = &wire{begunByGateway: e.Op == powercut.Report}
		c.in.Role, c.out.Role = packet.Server, packet.Client
		if c.begunByGateway {
			c.in.Role, c.out.Role = packet.Client, packet.Server
		}
		w.conns[e.Name] = c
	}
	buf, d := &c.inBuf, &c.in
	if e.Op == powercut.Report {
		buf, d = &c.outBuf, &c.out
	}
	*buf = append(*buf, e.Data...)
	for {
		p, n, _, err := d.Next(*buf)
		if err != nil {
			return fmt.Errorf("%v %s: %w", e.Op, e.Name, err)
		}
		if p == nil {
			return nil
		}
		if connect, ok := p.(*packet.Connect); ok {
			c.in.Version, c.out.Version = connect.Version, connect.Version
			c.begin(w, connect)
		} else if e.Op == powercut.Report {
			w.told(c, p)
		} else {
			w.said(c, p)
		}
		*buf = (*buf)[n:]
	}
}

func (c *wire) begin(w *world, p *packet.Connect) {
	if c.begunByGateway {
		c.getter = w.getter[cloudQueue]
		return
	}
	c.getter = w.getter["client/"+p.ClientID]
	if c.sender = w.sender[p.ClientID]; c.sender == nil {
		c.sender = &sending{p.Version, make(map[uint16]string), make(map[uint16]bool), make(map[uint16]bool)}
		w.sender[p.ClientID] = c.sender
	}
}

// said takes in a packet that the gateway has read.
func (w *world) said(c *wire, p packet.Packet) {
	switch p := p.(type) {
	case *packet.Publish:
		m, whole := messageIn(p.Payload)
		if !whole || c.sender == nil {
			return
		}
		if !c.sender.known[p.ID] {
			w.heard[m]++
		}
		w.qos2[m] = p.QoS == packet.QoS2
		c.sender.published[p.ID] = m
		delete(c.sender.free, p.ID)
	case *packet.Ack:
		switch {
		case p.Kind == packet.PUBREL && c.sender != nil:
			delete(c.sender.known, p.ID)
		case (p.Kind == packet.PUBACK || p.Kind == packet.PUBCOMP) && c.getter != nil:
			if m := c.getter.by[p.ID]; m != "" {
				c.getter.done[m] = true
				delete(c.getter.by, p.ID)
			}
		}
	}
}

// told takes in a packet that has left the gateway.
func (w *world) told(c *wire, p packet.Packet) {
	switch p := p.(type) {
	case *packet.Publish:
		if m, whole := messageIn(p.Payload); whole && c.getter != nil && p.QoS > 0 {
			c.getter.sent[m], c.getter.by[p.ID] = p.ID, m
		}
	case *packet.Ack:
		switch {
		case p.Code.IsError():
		case p.Kind == packet.PUBREL && c.getter != nil:
			if m := c.getter.by[p.ID]; m != "" {
				c.getter.released[m] = true
			}
		case c.sender == nil:
		case p.Kind == packet.PUBACK:
			w.reported(c.sender.published[p.ID])
		case p.Kind == packet.PUBREC:
			w.reported(c.sender.published[p.ID])
			c.sender.known[p.ID] = true
		case p.Kind == packet.PUBCOMP:
			c.sender.free[p.ID] = true
		}
	}
}

func (w *world) reported(m string) {
	if m == "" {
		return // not one of the load
	}
	w.safe[m] = true
	if f := strings.Fields(m); len(f) == 3 && f[2] == "kept" {
		topic := topicOf(m)
		if numberOf(m) > numberOf(w.kept[topic]) {
			w.kept[topic] = m
		}
	}
}

// topicOf is where a message is published.
func topicOf(m string) string {
	f := strings.Fields(m)
	if f[2] == "local" {
		return "local/" + f[0]
	}
	return "t/" + f[0] + "/" + f[2]
}

// found opens what is on a disk and compares it with what the world knows.
func (w *world) found(path string) (err error) {
	cfg := buffer.DefaultConfig()
	cfg.Sync, cfg.MaxSize = 0, 64<<20
	var damage error
	s, err := buffer.Open(path, cfg, nil, buffer.WithEvents(func(e buffer.Event) { damage = e.Err }))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if s.Restored() || damage != nil {
		return fmt.Errorf("restored: %v, damage: %v", s.Restored(), damage)
	}
	b, err := broker.New(broker.DefaultConfig(), s, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	var told []error
	wrong := func(format string, args ...any) { told = append(told, fmt.Errorf(format, args...)) }
	for name, g := range w.getter {
		q := &queued{messages: make(map[string][]buffer.Entry)}
		for _, queue := range s.Queues() {
			if queue == name || strings.HasPrefix(queue, name+"/") {
				if err := q.read(s.Find(queue), b.Decoder()); err != nil {
					wrong("queue %s: %v", name, err)
				}
			}
		}
		w.compare(g, q, func(format string, args ...any) { wrong("queue "+name+": "+format, args...) })
	}
	w.identifiers(s, wrong)
	for topic, m := range w.kept {
		there := b.Retained(topic, 1)
		if len(there) == 0 {
			wrong("retained %q is lost", m)
		} else if is, whole := messageIn(there[0].Payload); !whole || numberOf(is) < numberOf(m) || w.heard[is] == 0 {
			wrong("retained at %s is %q, want %q", topic, is, m)
		}
	}
	if st := s.Stats(); st.Damaged > 0 {
		wrong("%d records are damaged", st.Damaged)
	}
	return errors.Join(told...)
}

// queued is what lies in the queue of one.
type queued struct {
	messages map[string][]buffer.Entry
	order    []string
}

func (q *queued) read(from *buffer.Queue, d *broker.Decoder) error {
	var told error
	err := from.Each(func(e buffer.Entry) bool {
		r, err := d.Decode(e)
		if err != nil {
			told = errors.Join(told, err)
			return true
		}
		m, whole := messageIn(r.Message.Payload)
		if !whole {
			told = errors.Join(told, fmt.Errorf("%q is not what was published", m))
		}
		e.Data = nil
		q.messages[m] = append(q.messages[m], e)
		q.order = append(q.order, m)
		return true
	})
	return errors.Join(told, err)
}

func (w *world) compare(g *receiving, q *queued, wrong func(string, ...any)) {
	for m := range w.safe {
		if g.wants(m) && !g.done[m] && len(q.messages[m]) == 0 {
			wrong("%q was acknowledged to its publisher and is lost", m)
		}
	}
	for m, list := range q.messages {
		most := w.heard[m]
		if w.qos2[m] {
			most = min(most, 1)
		}
		if len(list) > most {
			wrong("%q is there %d times, and came %d times", m, len(list), w.heard[m])
		}
		if id, sent := g.sent[m]; sent && uint16(1+list[0].Seq%65000) != id {
			wrong("%q was sent as %d and is %d now", m, id, 1+list[0].Seq%65000)
		} else if sent && !list[0].Again {
			wrong("%q was sent, and is said to be new", m)
		}
		for _, e := range list {
			if other := g.by[uint16(1+e.Seq%65000)]; other != "" && other != m {
				wrong("%q has the identifier of %q, which was sent", m, other)
			}
		}
	}
	for m := range g.sent {
		switch there := q.messages[m]; {
		case g.done[m]:
		case w.qos2[m] && len(there) == 0:
			wrong("%q was sent at QoS 2 and is not on disk", m)
		case g.released[m] && !there[0].Received:
			wrong("PUBREL was sent for %q, and its mark is not on disk", m)
		}
	}
	newest := make(map[string]int)
	for _, m := range q.order {
		publisher, _, _ := strings.Cut(m, " ")
		if w.heard[m] > 1 {
			continue // sent again, it may be in another place
		}
		if n := numberOf(m); n < newest[publisher] {
			wrong("%q comes after number %d", m, newest[publisher])
		} else {
			newest[publisher] = n
		}
	}
}

// identifiers compares the QoS 2 handshakes of publishers.
func (w *world) identifiers(s *buffer.Store, wrong func(string, ...any)) {
	clients := make(map[string]string) // by generation
	err := s.Table("broker.sessions").Each(func(key, value []byte) error {
		clients[string(key)] = string(value[13:])
		return nil
	})
	there := make(map[string]map[uint16]bool)
	if err == nil {
		err = s.Table("broker.received").Each(func(key, _ []byte) error {
			client := clients[string(key[:8])]
			if there[client] == nil {
				there[client] = make(map[uint16]bool)
			}
			there[client][uint16(key[8])<<8|uint16(key[9])] = true
			return nil
		})
	}
	if err != nil {
		wrong("tables of the broker: %v", err)
	}
	for client, p := range w.sender {
		for _, id := range slices.Sorted(maps.Keys(p.known)) {
			if !there[client][id] {
				wrong("client %s: PUBREC of %d was sent, and the identifier is not on disk", client, id)
			}
		}
		for id := range there[client] {
			if p.free[id] {
				wrong("client %s: PUBCOMP of %d was sent, and the identifier is on disk", client, id)
			}
		}
	}
}
