package cloud

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"edgegateway/broker/packet"
)

// A CONNECT whose CONNACK was not seen leaves a doubt. Mostly the server kept the
// session. But it may have lost it, and have begun a new one for that CONNECT, and
// then it says Session Present for the new one from the next CONNECT on. To take
// that for the old session loses messages: one with a received mark would never be
// sent again, and one that comes with an identifier of old would be taken for a
// repetition. To take the old session for a new one sends twice.
//
// A session that began unseen has no subscriptions, and that can be asked for: in
// every session the gateway subscribes to markers, topics that nobody uses. In doubt
// it unsubscribes from one, and the server says whether it was there (3.11.3). Until
// then nothing leaves the queue. What the server sends meanwhile needs a
// subscription, so it comes from the old session.
//
// The question takes the marker away, and the gateway may be killed before it has
// noted the answer. So it is noted before a marker is asked for that it is used up,
// and the next question is for the next one.

const (
	// markerLevel takes the place of a wildcard in the first marker; the others have a
	// number behind it.
	markerLevel = "session-marker"

	// markers is how many there are. When all are used up a doubt is not settled but
	// lived with. We chose more than a series of kills in these moments uses up.
	markers = 8
)

// marker is the first one: a topic without wildcards inside of what a route takes
// down, so that a gateway that may have the one may have the other; "" if no route
// has a wildcard.
func (b *Bridge) marker() string {
	for _, from := range b.filters() {
		levels := strings.Split(from, "/")
		if levels[0] == "$share" {
			continue
		}
		found := false
		for i, l := range levels {
			if l == "+" || l == "#" {
				levels[i], found = markerLevel, true
			}
		}
		if found {
			return strings.Join(levels, "/")
		}
	}
	return ""
}

// markerName is that of the nth marker, from 0.
func markerName(first string, n int) string {
	if n == 0 {
		return first
	}
	return strings.ReplaceAll(first, markerLevel, fmt.Sprintf("%s-%d", markerLevel, n))
}

// knowable reports whether the server can be asked which session this is.
func (e *epoch) knowable() bool { return e.Marker != "" && e.Asked < markers }

// mostOutcries is how many connections in a row may end while the server is asked for
// markers: it may be the sort of server that ends those of who asks for what it may not
// have, and without markers the messages move. A restart of the gateway asks anew.
const mostOutcries = 3

// mark subscribes to the markers of a session that has none, or few left. A server
// that refuses them has none: then a doubt is not settled but lived with, see
// inbound.begin.
func (l *link) mark(ctx context.Context) error {
	next := l.b.epoch
	if next.Marker != "" && next.Asked < markers/2 {
		return nil
	}
	if next.Marker == "" {
		next.Marker = l.b.marker()
	}
	if next.Marker == "" {
		return nil
	}
	if l.b.unmarkable >= mostOutcries {
		return nil
	}
	var names []string
	for n := range markers {
		names = append(names, markerName(next.Marker, n))
	}
	atOnce := markers
	if l.asks(names...) > l.maxPacket { // [MQTT-3.2.2-15]
		atOnce = 1
	}
	for some := range slices.Chunk(names, atOnce) {
		if l.asks(some...) > l.maxPacket {
			return nil
		}
		l.b.unmarkable++ // until there is an answer
		answered, ok, err := l.listen(ctx, some...)
		if answered {
			l.b.unmarkable = 0
		}
		if err != nil || !ok {
			return err
		}
	}
	next.Asked = 0
	return l.b.writeEpoch(ctx, l.b.store.Begin(), next)
}

// decide ends a doubt with what the server says of a marker, and lets the queue
// move.
func (l *link) decide(ctx context.Context) error {
	b := l.b
	asked := markerName(b.epoch.Marker, b.epoch.Asked)
	next := b.epoch
	next.Asked++
	if err := b.writeEpoch(ctx, b.store.Begin(), next); err != nil {
		return err
	}
	codes, err := l.unlisten(ctx, asked)
	if err != nil || codes == nil {
		return err // without codes the link has ended, and knows why
	}
	c := b.store.Begin()
	next.Attempt = ""
	if packet.ReasonCode(codes[0]) == packet.NoSubscriptionExisted {
		b.beginAnew(c, &next)
	}
	if err := b.writeEpoch(ctx, c, next); err != nil {
		return err
	}
	l.mu.Lock()
	l.doubt = false
	l.mu.Unlock()
	l.signal()
	return nil
}
