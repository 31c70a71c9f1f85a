package cloud

import (
	"context"
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
// every session the gateway subscribes to a marker, a topic that nobody uses. In
// doubt it unsubscribes from it, and the server says whether it was there
// (3.11.3). Until then nothing leaves the queue. What the server sends meanwhile
// needs a subscription, so it comes from the old session.

// markerLevel takes the place of a wildcard in the marker.
const markerLevel = "session-marker"

// marker is a topic without wildcards inside of what a route takes down, so that a
// gateway that may have the one may have the other; "" if no route has a wildcard.
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

// mark subscribes to the marker of a session that has none. A server that refuses
// it has none: then a doubt is not settled but lived with, see inbound.begin.
func (l *link) mark(ctx context.Context) error {
	b, marker := l.b, l.b.marker()
	if marker == "" || b.epoch.Marker != "" {
		return nil
	}
	if ok, err := l.listen(ctx, marker); err != nil || !ok {
		return err
	}
	next := b.epoch
	next.Marker = marker
	return b.writeEpoch(ctx, b.store.Begin(), next)
}

// decide ends a doubt with what the server says of the marker, and lets the queue
// move. Should the gateway be killed right here the next answer is that there is no
// marker: then messages come twice, and none is lost.
func (l *link) decide(ctx context.Context) error {
	b := l.b
	codes, err := l.unlisten(ctx, b.epoch.Marker)
	if err != nil || codes == nil {
		return err // without codes the link has ended, and knows why
	}
	next, c := b.epoch, b.store.Begin()
	next.Attempt, next.Marker = "", ""
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
