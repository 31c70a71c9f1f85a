package broker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"edgegateway/broker/packet"
)

// clientEvent is published, as JSON and not retained, at
// $SYS/broker/clients/<client>/event when a client comes and goes.
type clientEvent struct {
	Event   string `json:"event"`  // "connected" or "disconnected"
	Client  string `json:"client"` // client identifier as it is
	Time    string `json:"ts"`     // RFC 3339, milliseconds, UTC
	Address string `json:"address"`

	*connected
	*disconnected
}

type connected struct {
	Protocol       string `json:"protocol"` // "3.1", "3.1.1" or "5.0"
	Username       string `json:"username,omitempty"`
	SessionPresent bool   `json:"session_present"`
}

type disconnected struct {
	Reason string             `json:"reason"`
	Code   *packet.ReasonCode `json:"code"` // of the DISCONNECT, whoever sent it; null: there was none
}

// connectedLocked tells that a client has connected. Broker.mu is held.
func (b *Broker) connectedLocked(c *conn, present bool, w *work) {
	b.eventLocked(c, clientEvent{Event: "connected", connected: &connected{
		Protocol: c.version.String(), Username: c.username, SessionPresent: present,
	}}, w)
}

// disconnectedLocked tells that the connection of a client has ended. Broker.mu is
// held.
func (b *Broker) disconnectedLocked(c *conn, e *ending, w *work) {
	ev := clientEvent{Event: "disconnected", disconnected: &disconnected{Reason: e.reason}}
	switch {
	case e.code.IsError():
		ev.Code = &e.code
	case e.said != nil:
		ev.Code = e.said
	}
	b.eventLocked(c, ev, w)
}

// eventLocked publishes an event if somebody wants it: when thousands of clients
// connect and nobody does, it costs next to nothing.
func (b *Broker) eventLocked(c *conn, ev clientEvent, w *work) {
	name := "$SYS/broker/clients/" + eventLevel(c.session.id) + "/event"
	wanted := false
	b.filters.Match(name, func(*subscription) { wanted = true })
	if !wanted {
		return
	}
	now := time.Now()
	ev.Client, ev.Time, ev.Address = c.session.id, now.UTC().Format("2006-01-02T15:04:05.000Z"), c.address()
	payload, err := json.Marshal(ev)
	if err != nil {
		b.log.Error("an event of a client is not published", "client", ev.Client, "err", err)
		return
	}
	b.publishOwnLocked(name, payload, false, w)
}

// maxEventLevel is the longest topic level that a client identifier makes: an
// identifier may be so long that no topic could hold it. We chose it.
const maxEventLevel = 1024

// eventLevels is made once: making it is a good part of the work for a CONNECT.
var eventLevels = strings.NewReplacer("%", "%25", "+", "%2B", "#", "%23", "/", "%2F")

// eventLevel makes a topic level of a client identifier: + # / and % become %2B %23
// %2F and %25. A long one is cut, and a digest keeps it apart from others.
func eventLevel(id string) string {
	level := eventLevels.Replace(id)
	if len(level) <= maxEventLevel {
		return level
	}
	sum := sha256.Sum256([]byte(id))
	return strings.ToValidUTF8(level[:maxEventLevel-17], "") + "~" + hex.EncodeToString(sum[:8])
}
