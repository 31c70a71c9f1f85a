package broker

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"math"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/broker/topic"
	"edgegateway/buffer"
)

// connect handles CONNECT.
func (c *conn) connect(p *packet.Connect) {
	c.version = p.Version
	c.noProblemInfo = p.NoProblemInfo
	c.maxPacket = int(min(p.MaximumPacketSize, packet.MaxSize))
	c.username = p.Username
	code, reason := c.admit(p)
	if code != packet.Success {
		c.refuseConnect(code, reason)
		return
	}
	assigned := p.ClientID == ""
	if assigned { // [MQTT-3.1.3-6] [v3 MQTT-3.1.3-6]
		p.ClientID = newClientID()
	}
	if c.tooLarge(c.connack(p, p.SessionExpiry+1, false, assigned).Size(c.version)) { // with all that it may hold [MQTT-3.1.2-24]
		c.refuseConnect(packet.ImplementationSpecificError, "the client takes no packet of the size of CONNACK")
		return
	}
	if p.TopicAliasMaximum > 0 { // MQTT 5 alone has it
		c.out.aliases = &aliases{most: min(int(p.TopicAliasMaximum), aliasMaximum), size: c.maxPacket}
	}
	c.keepAlive = time.Duration(c.b.keepAlive(p)) * 1500 * time.Millisecond // [MQTT-3.1.2-22] [v3 MQTT-3.1.2-24]
	ack, erased := c.b.startSession(c, p, assigned)
	if erased != nil {
		// The client has nothing to do with the old session any more: if it came back
		// after a crash, its packet identifiers would make new messages look like
		// repetitions. Nobody else sends on c yet, as the session has no subscriptions.
		// A disk that takes nothing does not keep the client out.
		select {
		case <-erased:
		case <-time.After(erasePatience):
			c.log.Warn("the end of an earlier session is not on disk yet", "client", p.ClientID)
		}
		c.add(ack)
	}
	c.arm()
	c.flush()
}

// erasePatience is how long a client waits for the disk to forget its earlier
// session. We chose it.
const erasePatience = 2 * time.Second

// admit decides whether a client may connect.
func (c *conn) admit(p *packet.Connect) (packet.ReasonCode, string) {
	if c.crowded {
		return packet.ServerBusy, "too many connections"
	}
	if p.ClientID == "" && (p.Version == packet.V31 || p.Version == packet.V311 && !p.CleanStart) {
		return packet.ClientIdentifierNotValid, "the client identifier is empty" // [v3 MQTT-3.1.3-8]
	}
	if p.Authentication != nil {
		// The place where an authentication method would begin its exchange (4.12).
		return packet.BadAuthenticationMethod, "no authentication method is supported"
	}
	if p.Will != nil {
		if err := c.mayPublish(p.Will.Topic); err != nil {
			return packet.NotAuthorized, "the will topic is not allowed"
		}
		if err := c.door.checkPayload(&p.Will.Properties, p.Will.Payload); err != nil { // 3.1.3.2.3
			return packet.PayloadFormatInvalid, "the will is not UTF-8, though its payload format indicator says so"
		}
	}
	if code, reason := c.door.authenticate(c, p); code != packet.Success {
		return code, reason
	}
	if !c.b.roomFor(p) {
		return packet.ServerUnavailable, "the disk takes nothing, so no session can be kept"
	}
	return packet.Success, ""
}

// refuseConnect answers CONNECT with a failure and closes [MQTT-3.2.2-7] [v3 MQTT-3.2.2-5].
func (c *conn) refuseConnect(code packet.ReasonCode, reason string) {
	if _, ok := code.ReturnCode(); c.version == packet.V5 || ok { // [v3 MQTT-3.2.2-6]
		ack := &packet.Connack{Code: code}
		if !c.noProblemInfo {
			ack.ReasonString = reason
		}
		if c.tooLarge(ack.Size(c.version)) {
			ack.ReasonString = "" // [MQTT-3.2.2-19]
		}
		c.add(ack)
	}
	if !c.crowded { // else it is counted already
		c.b.counters.refused.Add(1)
	}
	c.endWith(&ending{reason: "CONNECT refused: " + reason, bad: true})
}

// newClientID makes an identifier that no other client has.
func newClientID() string { return "auto-" + rand.Text() }

func newGeneration() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// startSession makes c the connection of its session: of the one that is there,
// if the client wants it and it lasted, else of a new one. It answers CONNECT; but
// if erased is not nil, the caller does, once erased is closed.
func (b *Broker) startSession(c *conn, p *packet.Connect, assigned bool) (ack *packet.Connack, erased <-chan struct{}) {
	var w work
	b.mu.Lock()
	defer func() {
		b.mu.Unlock()
		w.finish(c)
	}()
	w.startLocked(b)
	expiry := b.sessionExpiry(p)
	old := b.sessions[p.ClientID]
	before := old
	if old != nil && old.conn != nil {
		b.takeOverLocked(old, p.CleanStart, &w)
		old = b.sessions[p.ClientID] // it may have ended with its connection
	}
	if lost := b.lostWills[p.ClientID]; lost != nil { // the client is back in time, though its session is not
		delete(b.lostWills, p.ClientID)
		b.forgetWillLocked(lost)
	}
	kept := old != nil && !p.CleanStart // [MQTT-3.1.2-5] [v3 MQTT-3.1.2-4]
	present := kept && !old.stale
	s := old
	if !kept {
		if old != nil { // [MQTT-3.1.2-4] [v3 MQTT-3.1.2-6]
			b.endSessionLocked(old, &w)
		}
		s = &Session{b: b, id: p.ClientID, number: fnv(p.ClientID), generation: newGeneration(), durable: expiry > 0, limits: b.limits}
		b.sessions[s.id] = s
	}
	s.version, s.username, s.expiry, s.due = c.version, c.username, expiry, 0
	s.setRightsLocked(c.door.acl.rights(s.id, c.username, c.verified))
	change := b.store.Begin()
	if s.will != nil { // its delay has not passed [MQTT-3.1.3-9]
		change.Delete(b.tables.wills, s.will.key(), buffer.Lazy)
		s.will = nil
	}
	if p.Will != nil && !s.rights.may(mayWrite, p.Will.Topic) {
		// The rules do not change while it is connected, so what becomes of its will
		// is certain now. It gets in all the same, as with Mosquitto.
		b.stats.PublishRefused++
		c.log.Warn("the will of a client will not be published: the access rules do not allow its topic",
			"client", s.id, "username", s.username, "topic", p.Will.Topic)
	} else if p.Will != nil {
		s.will = newWill(s, p.Will)
		put := change.Put
		if !s.durable { // its generation is as new as the connection
			put = change.PutNew
		}
		put(b.tables.wills, s.will.key(), s.will.value(), buffer.Lazy)
	}
	if s.durable && s.queue == nil {
		var q *buffer.Queue
		err := b.store.Late() // a queue that was never on disk would hand out nothing
		if err == nil {
			if q, err = b.store.Queue(s.queueName(), b.limits); err != nil {
				b.log.Error("a session lives in memory only", "client", s.id, "err", err)
			}
		}
		if err != nil {
			// The client is served all the same, as long as it is connected.
			s.durable, s.expiry, expiry = false, 0, 0
		} else {
			s.queue = q
			q.Notify(s.pull)
		}
	}
	c.session = s
	ack = c.connack(p, expiry, present, assigned)
	if before != nil && before.gone {
		erased = before.erased
	}
	if erased == nil {
		c.add(ack) // before all others can find the connection
	}
	s.connectLocked(c, b.window(p))
	if !s.durable {
		change.Commit(nil)
	} else {
		b.attachLocked(s, change, present)
	}
	b.stats.ConnectionsTotal++
	b.connected++
	b.stats.ClientsMaximum = max(b.stats.ClientsMaximum, b.connected)
	b.connectedLocked(c, present, &w)
	if c.log.Enabled(context.Background(), slog.LevelDebug) { // the address as text is not free
		c.log.Debug("client connected", "client", s.id, "address", c.address(), "version", c.version.String(), "present", present)
	}
	return ack, erased
}

// attachLocked writes that the session has a connection. What waits in its queue
// is sent once that is on disk: else a crash would forget that it may have been
// sent, and it would be sent again without DUP.
func (b *Broker) attachLocked(s *Session, change *buffer.Change, present bool) {
	urgency, waits := buffer.Lazy, s.queue.Stats().Messages > 0
	if !present || waits {
		urgency = buffer.Sync
	}
	if s.stale { // from here on it is the session that the client knows
		s.stale = false
		change.Forget(s.queue, urgency)
	}
	s.putLocked(change, urgency)
	change.Attach(s.queue, urgency)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !waits {
		s.ready = true // nothing waits yet, and what comes is written after this
	}
	if urgency == buffer.Lazy {
		change.Commit(nil)
		return
	}
	s.awaitAttach(change)
}

// awaitAttach commits a Change that attaches the queue, and has the queue handed
// out behind it. However often a client comes back while the disk takes nothing,
// one Change waits. s.mu is held.
func (s *Session) awaitAttach(change *buffer.Change) {
	if s.attaching {
		s.attachAgain = true
		change.Commit(nil)
		return
	}
	s.attaching = true
	change.Commit(s.attached)
}

// attached is called when the Change is done.
func (s *Session) attached(err error) {
	s.mu.Lock()
	c, again := s.active, s.attachAgain
	s.attaching, s.attachAgain = false, false
	switch {
	case c == nil: // it left meanwhile
	case err != nil:
		c.fail(packet.UnspecifiedError, "the store fails", err)
	case again: // the commit may have been that of an earlier connection
		change := s.b.store.Begin()
		change.Attach(s.queue, buffer.Sync)
		s.awaitAttach(change)
	default:
		s.ready = true
	}
	s.mu.Unlock()
	s.pull()
}

// sessionExpiry is how long the session lasts after the connection, in seconds.
func (b *Broker) sessionExpiry(p *packet.Connect) uint32 {
	most := uint32(b.cfg.MaxSessionExpiry / time.Second)
	if p.Version == packet.V5 {
		return min(p.SessionExpiry, most)
	}
	if p.CleanStart { // [v3 MQTT-3.1.2-6]
		return 0
	}
	return most
}

// window is how many QoS 1 and 2 messages may be under way to the client
// [MQTT-3.3.4-9].
func (b *Broker) window(p *packet.Connect) int {
	if p.ReceiveMaximum > 0 {
		return min(int(p.ReceiveMaximum), b.cfg.MaxInflight)
	}
	return b.cfg.MaxInflight
}

func (c *conn) connack(p *packet.Connect, expiry uint32, present, assigned bool) *packet.Connack {
	ack := &packet.Connack{SessionPresent: present} // [MQTT-3.2.2-2] [MQTT-3.2.2-3] [v3 MQTT-3.2.2-1..3]
	if c.version != packet.V5 {
		return ack
	}
	if expiry != p.SessionExpiry {
		ack.SessionExpiry = &expiry // 3.2.2.3.2
	}
	if n := c.b.cfg.ReceiveMaximum; n < 65535 {
		ack.ReceiveMaximum = uint16(n)
	}
	ack.MaximumPacketSize = uint32(c.b.cfg.MaxPacketSize)
	ack.TopicAliasMaximum = aliasMaximum
	if n := c.b.keepAlive(p); n != p.KeepAlive {
		ack.ServerKeepAlive = &n // [MQTT-3.2.2-21] [MQTT-3.2.2-22]
	}
	ack.ResponseInformation = c.b.responseInformation(p)
	if assigned {
		ack.AssignedClientID = p.ClientID // [MQTT-3.2.2-16]
	}
	return ack
}

// keepAlive is the time in seconds in which a client has to be heard; 0 is no limit.
// MQTT 3.x has no way to tell the client of another value than its own.
func (b *Broker) keepAlive(p *packet.Connect) uint16 {
	most := uint16(b.cfg.MaxKeepAlive / time.Second)
	if most == 0 || p.Version != packet.V5 || p.KeepAlive > 0 && p.KeepAlive <= most {
		return p.KeepAlive
	}
	return most
}

// responseInformation is the beginning of the topics on which a client may have
// itself answered: nobody else is told of them (3.2.2.3.15, 4.10.2). "" is not sent
// [MQTT-3.1.2-28].
func (b *Broker) responseInformation(p *packet.Connect) string {
	base := b.cfg.ResponsePrefix + "/" + p.ClientID
	if !p.RequestResponseInfo || b.cfg.ResponsePrefix == "" || topic.ValidName(base) != nil {
		return "" // what the client would make of it is no topic
	}
	return base
}

// takeOverLocked ends the connection of a session in favour of a new one
// [MQTT-3.1.4-3] [v3 MQTT-3.1.4-2].
func (b *Broker) takeOverLocked(s *Session, cleanStart bool, w *work) {
	c := s.conn
	c.fail(packet.SessionTakenOver, "another connection has taken the session over", nil)
	b.detachLocked(s, false, w)
	b.disconnectedLocked(c, c.ended.Load(), w)
	if cleanStart && s.conn == nil && !s.gone {
		b.endSessionLocked(s, w)
	}
}

// endConnection is called when a connection with a session ends.
func (b *Broker) endConnection(c *conn, e *ending) {
	var w work
	b.mu.Lock()
	defer func() {
		b.mu.Unlock()
		w.finish(c)
	}()
	w.startLocked(b)
	s := c.session
	if s.conn != c {
		return // taken over
	}
	if e.clean {
		if e.expiry != nil && s.expiry > 0 { // 3.14.2.2.2
			s.expiry = min(*e.expiry, uint32(b.cfg.MaxSessionExpiry/time.Second))
		}
		if s.will != nil { // [MQTT-3.14.4-3] [v3 MQTT-3.14.4-3]
			b.forgetWillLocked(s.will)
			s.will = nil
		}
	} else if e.expiry != nil && s.expiry > 0 { // DISCONNECT with will
		s.expiry = min(*e.expiry, uint32(b.cfg.MaxSessionExpiry/time.Second))
	}
	b.detachLocked(s, e.code == packet.ServerShuttingDown, &w)
	b.disconnectedLocked(c, e, &w)
}

// detachLocked leaves a session without a connection: it waits for the client to
// come back, or ends. A broker that stops publishes no wills: they stay on disk as
// those of connected clients, and are published after the start unless the client
// is back in time.
func (b *Broker) detachLocked(s *Session, stopping bool, w *work) {
	b.connected--
	s.disconnectLocked()
	if stopping {
		s.will = nil
	}
	if s.expiry == 0 {
		b.endSessionLocked(s, w)
		return
	}
	now := b.clock.now()
	s.due = s.endsAt(now)
	change := b.store.Begin()
	s.putLocked(change, buffer.Lazy)
	change.Detach(s.queue, buffer.Lazy)
	if wl := s.will; wl != nil {
		if wl.delay == 0 {
			s.will = nil
			b.publishWillLocked(wl, w)
		} else {
			wl.due = now + 1000*int64(min(wl.delay, s.expiry))
			change.Put(b.tables.wills, wl.key(), wl.value(), buffer.Lazy)
		}
	}
	change.Commit(nil)
	b.scheduleLocked(s)
}

// endSessionLocked ends a session, and its will with it, which can not wait any
// longer [MQTT-3.1.2-8].
func (b *Broker) endSessionLocked(s *Session, w *work) {
	if wl := s.will; wl != nil {
		s.will = nil
		b.publishWillLocked(wl, w)
	}
	b.dropSessionLocked(s, w)
}

// scheduleLocked sees to it that an absent client's session is looked at when its
// will or its end is due. The agenda has one entry per session, however often the
// client comes and goes; one more only for what is due earlier.
func (b *Broker) scheduleLocked(s *Session) {
	due := int64(math.MaxInt64)
	if s.expiry != neverExpires {
		due = s.due
	}
	if s.will != nil && s.will.due != 0 {
		due = min(due, s.will.due)
	}
	if due == math.MaxInt64 || s.scheduled != 0 && s.scheduled <= due {
		return
	}
	s.scheduled = due
	b.agenda.add(due, func(w *work) {
		if s.scheduled == due {
			s.scheduled = 0
		}
		b.sessionDueLocked(s, w)
	})
	b.agendaChanged()
}

// sessionDueLocked does what is due for an absent client.
func (b *Broker) sessionDueLocked(s *Session, w *work) {
	if s.gone || s.conn != nil {
		return
	}
	now := b.clock.now()
	if s.expiry != neverExpires && s.due <= now {
		b.stats.SessionsExpired++
		b.log.Info("session expired", "client", s.id, "after", time.Duration(s.expiry)*time.Second)
		b.endSessionLocked(s, w)
		return
	}
	if wl := s.will; wl != nil && wl.due != 0 && wl.due <= now {
		s.will = nil
		b.publishWillLocked(wl, w)
	}
	b.scheduleLocked(s)
}
