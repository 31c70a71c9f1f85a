package e2e_test

import (
	"net"
	"sync"
	"testing"

	"edgegateway/broker/packet"
)

// wire stands between the gateway and the cloud, can be cut, and keeps the books of
// what passes: what the cloud took, in which order, and what it was sent as two
// messages of QoS 2. A consumer behind Mosquitto can not always tell that: Mosquitto
// 2.0.11 itself, after a restart with a backlog, lets new messages overtake old ones,
// and sends messages of QoS 2 twice.
type wire struct {
	addr, cloud string
	fate        func() int // after how many bytes the next connection is cut, 0: not at all; nil: none is

	turn sync.Mutex // one connection at a time: what an old one still holds comes first

	linkMu sync.Mutex // guards what follows
	near   net.Conn   // of the connection that is open; nil: none
	far    net.Conn
	left   int // bytes until it is cut; 0: it is not going to be
	barred int // how many want no connection now
	cuts   int

	mu       sync.Mutex         // guards what follows
	taken    books              // what the cloud has acknowledged
	up, down *ledger            // what the gateway sent, and the cloud
	passed   progress           // counts what the cloud has acknowledged
	fault    error              // something passed that is not MQTT 5
	aliases  map[uint16]string  // of this connection
	seen     func(what passing) // what a test wants to know of; nil: nothing
}

// passing is a packet that says how far a connection has come.
type passing uint8

const (
	newSession passing = iota // CONNACK
	oldSession
	listening // SUBACK
	dataUp    // PUBLISH
	dataDown
)

type message struct {
	topic  string
	number int
}

func startWire(t *testing.T, cloud string, fate func() int) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{
		addr: ln.Addr().String(), cloud: cloud, fate: fate,
		taken: books{seen: map[string]map[int]int{}, highest: map[string]int{}},
		up:    newLedger(), down: newLedger(),
		aliases: map[uint16]string{}, seen: func(passing) {},
	}
	var running sync.WaitGroup
	t.Cleanup(func() { ln.Close(); w.cut(); running.Wait() })
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
	w.turn.Lock()
	defer w.turn.Unlock()
	far, err := net.Dial("tcp", w.cloud)
	if err != nil {
		return // the cloud is away, and so is its address
	}
	defer far.Close()
	w.linkMu.Lock()
	barred := w.barred > 0
	if !barred {
		w.near, w.far, w.left = near, far, 0
		if w.fate != nil {
			w.left = w.fate()
		}
	}
	w.linkMu.Unlock()
	if barred {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		w.pass(near, far, packet.Client, w.fromCloud)
		near.Close()
	})
	w.pass(far, near, packet.Server, w.fromGateway)
	far.Close()
	back.Wait()
	w.linkMu.Lock()
	w.near, w.far = nil, nil
	w.linkMu.Unlock()
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
		some := w.some(n)
		if role == packet.Server {
			buf = append(buf, chunk[:some]...) // what the cloud never gets it does not know
		} else {
			buf = append(buf, chunk[:n]...)
		}
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
		if _, writeErr := to.Write(chunk[:some]); err != nil || writeErr != nil {
			return
		}
		if some < n {
			w.cut()
			return
		}
	}
}

// some is how many of n bytes pass before the link is cut.
func (w *wire) some(n int) int {
	w.linkMu.Lock()
	defer w.linkMu.Unlock()
	if w.left == 0 {
		return n
	}
	if n < w.left {
		w.left -= n
		return n
	}
	n, w.left = w.left-1, 0
	return n
}

// cutAfter cuts the connection that is open after so many bytes more.
func (w *wire) cutAfter(bytes int) {
	w.linkMu.Lock()
	defer w.linkMu.Unlock()
	if w.near != nil {
		w.left = bytes
	}
}

// cut ends the connection, if there is one.
func (w *wire) cut() {
	w.linkMu.Lock()
	defer w.linkMu.Unlock()
	if w.near != nil {
		w.near.Close()
		w.far.Close()
		w.near, w.far = nil, nil
		w.cuts++
	}
}

// bar cuts the link, and lets none through until the returned function is called.
func (w *wire) bar() (lift func()) {
	w.linkMu.Lock()
	w.barred++
	w.linkMu.Unlock()
	w.cut()
	return func() {
		w.linkMu.Lock()
		w.barred--
		w.linkMu.Unlock()
	}
}

func (w *wire) fromGateway(p packet.Packet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch p := p.(type) {
	case *packet.Connect:
		clear(w.aliases)
	case *packet.Publish:
		if alias := p.Properties.TopicAlias; p.Properties.Has&packet.HasTopicAlias != 0 && len(p.Topic) > 0 {
			w.aliases[alias] = string(p.Topic)
		} else if len(p.Topic) == 0 {
			p.Topic = []byte(w.aliases[alias])
		}
		if w.up.publish(p) {
			w.seen(dataUp)
		}
	case *packet.Ack:
		w.up.pubrel(p)
	}
}

func (w *wire) fromCloud(p packet.Packet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch p := p.(type) {
	case *packet.Connack:
		clear(w.down.highest)
		if p.SessionPresent {
			w.seen(oldSession)
		} else {
			w.seen(newSession)
		}
	case *packet.Suback:
		w.seen(listening)
	case *packet.Publish:
		if w.down.publish(p) {
			w.seen(dataDown)
		}
	case *packet.Ack:
		w.down.pubrel(p)
	}
	a, ok := p.(*packet.Ack)
	if !ok || a.Code.IsError() || a.Kind != packet.PUBACK && a.Kind != packet.PUBREC {
		return
	}
	m, ok := w.up.byID[a.ID]
	if !ok || w.taken.seen[m.topic][m.number] > 0 {
		return
	}
	w.taken.note(m.topic, m.number)
	w.passed.add()
}
