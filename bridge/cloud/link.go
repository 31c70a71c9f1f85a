package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// link is one connection to a server, from CONNECT to its end. Three goroutines
// use it: the library's reader, which never waits for anything; the pump, which
// is the only one that sends messages and acknowledgements; and the bridge's own,
// which waits for the end. Callbacks of the store come from anywhere.
type link struct {
	b      *Bridge
	server server
	wire   *wire
	client *paho.Client
	pinger *pinger

	// Set before the reader and the pump start, and read only.
	window    int    // messages that may be under way: what the server said, and our cap
	maxPacket int    // largest packet that the server takes, in bytes
	maxQoS    byte   // of messages up
	retain    bool   // the server keeps retained messages
	expiry    uint32 // seconds that the server keeps the session after the link went
	unsure    bool   // the session may be a new one although the server calls it the old one, and there is no way to know

	kick chan struct{} // one token: the pump has something to look at
	rush chan struct{} // one token: a commit is wanted now
	back chan struct{} // the first server is there again

	// Of the pump alone.
	aliases  *aliases
	throttle *throttle
	held     *buffer.Entry // handed out by the queue, waiting for its identifier

	// Of the bridge's goroutine alone.
	stays time.Time     // it does not try to leave before; zero: it never tried in vain
	hold  time.Duration // from the last try in vain to then

	unanswered []control // in the bytes that leave next, with QoS 0: nothing will come for them

	mu       sync.Mutex // guards what follows; the last lock in every order but the wire's
	fault    error      // why the link has to end; the first one counts
	goodbye  []byte     // DISCONNECT to send before it does
	out      []byte     // acknowledgements that leave before the next message
	control  []control  // the gateway's own messages that bypass the queue
	flights  flights
	paused   time.Time // no messages before this time
	pause    backoff
	barrier  bool   // a commit is under way that lets identifiers be used again
	passed   bool   // it has come through, and highest is new
	highest  uint64 // the youngest entry under way when it began
	stopping bool   // no messages from the queue any more
	doubt    bool   // nor before it is known which session this is
	acked    bool   // the server has acknowledged something
	moved    bool   // a message has come through, in one direction or the other
	full     bool   // the pump waits for room in the window

	pubrels, pubacks, pubrecs, pubcomps turns

	requests map[uint16]chan<- packets.ControlPacket
}

// control is a message of the gateway itself: its status, or its birth.
type control struct {
	id      uint16
	encoded []byte
	acked   func(packet.ReasonCode)
}

func (b *Bridge) newLink(s server, w *wire) *link {
	l := &link{
		b: b, server: s, wire: w,
		kick:     make(chan struct{}, 1),
		flights:  flights{byID: make(map[uint16]flight)},
		rush:     make(chan struct{}, 1),
		back:     make(chan struct{}),
		requests: make(map[uint16]chan<- packets.ControlPacket),
		pause:    backoff{first: b.tuning.pause, most: time.Minute},
		pubrels:  turns{kind: packet.PUBREL},
		pubacks:  turns{kind: packet.PUBACK},
		pubrecs:  turns{kind: packet.PUBREC},
		pubcomps: turns{kind: packet.PUBCOMP},
	}
	w.onAcks = l.acknowledged
	return l
}

// signal wakes the pump.
func (l *link) signal() {
	select {
	case l.kick <- struct{}{}:
	default: // it has a token already
	}
}

// fail ends the link. The first reason counts.
func (l *link) fail(err error) {
	l.mu.Lock()
	if l.fault == nil {
		l.fault = err
	}
	l.mu.Unlock()
	_ = l.wire.Close() // the reader ends with it, and with the reader all else
}

// violated ends the link because the server broke the protocol, and tells it.
func (l *link) violated(code packet.ReasonCode, reason string) {
	l.mu.Lock()
	if l.fault == nil {
		l.fault = fmt.Errorf("the server broke the protocol: %s", reason)
		d := packet.Disconnect{Code: code}
		l.goodbye = d.Append(nil, packet.V5)
	}
	l.mu.Unlock()
	l.signal()
}

// reason says why the link ended.
func (l *link) reason() error {
	l.mu.Lock()
	fault := l.fault
	l.mu.Unlock()
	if fault != nil {
		return fault
	}
	switch err := l.wire.cause(); {
	case errors.Is(err, io.EOF):
		return errors.New("the server closed the connection")
	case err != nil:
		return err
	}
	return errors.New("the server sent something that is not MQTT 5")
}

// accepted handles CONNACK before any other packet is read.
func (l *link) accepted(ctx context.Context, ca *packets.Connack, cleanStart bool) error {
	if p := ca.Properties; p != nil && p.MaximumPacketSize != nil && *p.MaximumPacketSize == 0 { // 3.2.2.3.6: a protocol error
		return errors.New("the server says that it takes no packets: Maximum Packet Size is 0")
	}
	l.window, l.maxPacket, l.maxQoS, l.retain, l.expiry = 65535, packet.MaxSize, 2, true, l.b.expiry
	numbers, assigned := 0, ""
	if p := ca.Properties; p != nil {
		if p.SessionExpiryInterval != nil { // 3.2.2.3.2
			l.expiry = *p.SessionExpiryInterval
		}
		if p.TopicAliasMaximum != nil {
			numbers = int(*p.TopicAliasMaximum)
		}
		assigned = p.AssignedClientID
		if p.ReceiveMaximum != nil {
			l.window = int(*p.ReceiveMaximum)
		}
		if p.MaximumPacketSize != nil && *p.MaximumPacketSize < packet.MaxSize {
			l.maxPacket = int(*p.MaximumPacketSize)
		}
		if p.MaximumQOS != nil {
			l.maxQoS = *p.MaximumQOS
		}
		l.retain = p.RetainAvailable == nil || *p.RetainAvailable == 1
	}
	l.aliases = newAliases(numbers)
	if l.window == 0 { // 3.2.2.3.3: zero is a protocol error
		return errors.New("the server says that it receives no messages: Receive Maximum is 0")
	}
	// Of the server's places one stays free. Mosquitto goes on to count, in the next
	// connection, the QoS 2 messages that it got in this one, and ends that at the
	// first message beyond: with no place free not even the status would come through,
	// nor PUBREL behind it, time after time.
	if l.window > 1 {
		l.window--
	}
	l.window = min(l.window, l.b.tuning.window, max(1, int(l.b.tuning.modulus-1)/2))
	if l.unsure && ca.SessionPresent && l.b.epoch.knowable() {
		l.unsure, l.doubt = false, true // before the reader and the pump start
	}
	if err := l.b.settleEpoch(ctx, l.server, ca.SessionPresent, cleanStart, l.doubt, assigned); err != nil {
		if errors.Is(err, errForeignSession) {
			d := packet.Disconnect{Code: packet.NormalDisconnection}
			_ = l.wire.send(d.Append(nil, packet.V5)) // the connection ends in any case
		}
		return err
	}
	l.throttle = newThrottle(l.b.cfg.MaxRate, l.b.cfg.MaxBandwidth, l.b.queue, time.Now())
	l.say(onlineID, l.b.statusTopic, "online", func(code packet.ReasonCode) {
		if code.IsError() {
			l.b.note(fmt.Errorf("the server refuses the status at %q: %v (may this user publish there?)", l.b.statusTopic, code))
		}
	})
	l.announce()
	return nil
}

// say sends a message of the gateway itself around the queue. One that is larger than
// the server takes is not sent [MQTT-3.2.2-15].
func (l *link) say(id uint16, topic, payload string, acked func(packet.ReasonCode)) {
	p := packet.Publish{Topic: []byte(topic), Payload: []byte(payload), QoS: min(packet.QoS1, packet.QoS(l.maxQoS)), Retain: l.retain, ID: id}
	if p.Size(packet.V5) > l.maxPacket {
		acked(packet.PacketTooLarge)
		return
	}
	l.mu.Lock()
	l.control = append(l.control, control{id: id, encoded: p.Append(nil, packet.V5), acked: acked})
	l.mu.Unlock()
	l.signal()
}

// farewell says offline on the server and returns when the server has it, when
// the link has ended, or after a short while. The connection is closed with or
// without the will, so that the retained status says offline in any case.
func (l *link) farewell() {
	l.mu.Lock()
	l.stopping = true
	l.mu.Unlock()
	acked := make(chan struct{})
	l.say(offlineID, l.b.statusTopic, "offline", func(packet.ReasonCode) { close(acked) })
	wait := time.NewTimer(farewellTimeout)
	defer wait.Stop()
	code := packet.DisconnectWithWillMessage
	select {
	case <-acked:
		code = packet.NormalDisconnection
	case <-l.client.Done():
	case <-wait.C:
	}
	l.disconnect(code)
}

const farewellTimeout = 2 * time.Second
