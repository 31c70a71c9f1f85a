package e2e_test

import (
	"net"
	"strconv"
	"sync"
	"testing"

	"edgegateway/broker/packet"
)

// wire stands between the gateway and the cloud and keeps the books of what passes:
// what the cloud took, in which order, and what it was sent as two messages of QoS
// 2. A consumer behind Mosquitto can not tell that: Mosquitto 2.0.11 itself, after a
// restart with a backlog, lets new messages overtake old ones, and sends messages of
// QoS 2 twice.
type wire struct {
	addr, cloud string

	mu         sync.Mutex
	taken      map[message]bool // the cloud has acknowledged it
	highest    map[string]int   // by topic, of what was taken
	sent       map[message]uint16
	byID       map[uint16]message // the last one that was sent under it
	released   map[message]bool   // PUBREL was sent for it
	repeated   map[message]bool   // QoS 2, under another identifier, or after PUBREL [MQTT-4.3.3-6]
	fault      error              // something passed that is not MQTT 5
	disordered int                // taken after a later one of its topic
}

type message struct {
	topic  string
	number int
}

func startWire(t *testing.T, cloud string) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{
		addr: ln.Addr().String(), cloud: cloud,
		taken: map[message]bool{}, highest: map[string]int{}, sent: map[message]uint16{}, byID: map[uint16]message{},
		released: map[message]bool{}, repeated: map[message]bool{},
	}
	var running sync.WaitGroup
	t.Cleanup(func() { ln.Close(); running.Wait() })
	running.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { w.join(near) })
		}
	})
	return w
}

// join lets one connection through until one of its sides ends.
func (w *wire) join(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", w.cloud)
	if err != nil {
		return // the cloud is away, and so is its address
	}
	defer far.Close()
	var back sync.WaitGroup
	back.Go(func() {
		w.pass(near, far, packet.Client, w.fromCloud)
		near.Close()
	})
	w.pass(far, near, packet.Server, w.fromGateway)
	far.Close()
	back.Wait()
}

// pass shows every packet to see before it leaves.
func (w *wire) pass(to, from net.Conn, role packet.Role, see func(packet.Packet)) {
	dec := packet.Decoder{Role: role}
	if role == packet.Client {
		dec.Version = packet.V5 // a server learns it from CONNECT
	}
	var buf []byte
	chunk := make([]byte, 32<<10)
	for {
		n, err := from.Read(chunk)
		buf = append(buf, chunk[:n]...)
		for {
			p, used, _, err := dec.Next(buf)
			if err != nil {
				w.mu.Lock()
				w.fault = err
				w.mu.Unlock()
				return
			}
			if p == nil {
				break
			}
			see(p)
			dec.Version = packet.V5
			buf = buf[used:]
		}
		if _, writeErr := to.Write(chunk[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

func (w *wire) fromGateway(p packet.Packet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch p := p.(type) {
	case *packet.Publish:
		n, err := strconv.Atoi(string(p.Payload))
		if err != nil || p.QoS == 0 {
			return // the status
		}
		m := message{string(p.Topic), n}
		if id, known := w.sent[m]; p.QoS == packet.QoS2 && known && (id != p.ID || w.released[m]) {
			w.repeated[m] = true
		}
		w.sent[m], w.byID[p.ID] = p.ID, m
	case *packet.Ack:
		if m, ok := w.byID[p.ID]; ok && p.Kind == packet.PUBREL {
			w.released[m] = true
		}
	}
}

func (w *wire) fromCloud(p packet.Packet) {
	a, ok := p.(*packet.Ack)
	if !ok || a.Code.IsError() || a.Kind != packet.PUBACK && a.Kind != packet.PUBREC {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	m, ok := w.byID[a.ID]
	if !ok || w.taken[m] {
		return
	}
	w.taken[m] = true
	if m.number < w.highest[m.topic] {
		w.disordered++
	}
	w.highest[m.topic] = max(w.highest[m.topic], m.number)
}
