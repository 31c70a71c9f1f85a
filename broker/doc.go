// Package broker is an MQTT broker for version 3.1, 3.1.1 and 5.0, made to live
// inside another program.
//
// What it promises:
//
//   - PUBACK and PUBREC leave only when the message can no longer be lost: it is
//     on disk for everyone who must get it, or everyone has acknowledged it.
//   - There is one total order of messages. All subscribers see messages in it,
//     per topic and QoS, at any window.
//   - A persistent session is a durable queue: subscriptions, queued messages and
//     the state of every handshake survive a power cut.
//   - Nobody waits for a slow subscriber. At QoS 0 it loses its own messages, and
//     at QoS 1 and 2 its queue has limits; both are counted.
//   - Everything a client can make grow has a limit.
//
// How it is built. One lock orders everything: Broker.mu is held while messages
// are routed, and whatever a message causes (copies in queues, a retained value,
// the packet identifier of its publisher) is one buffer.Change, committed in that
// order. A Receipt tells the publisher when it is done. Locks are taken in the
// order broker, session, store, outbox; commit callbacks hold none of them.
//
// A connection has one goroutine, which reads. It also writes, for others as
// well, as long as their sockets take bytes at once; a second goroutine lives
// only while a socket does not.
//
// Code inside the process takes part as a Local: it publishes, subscribes with a
// Sink, and may have a durable session like any client.
//
// A bare statement number in a comment, as [MQTT-3.3.1-5], is one of the OASIS
// standard "MQTT Version 5.0"; "v3" marks "MQTT Version 3.1.1".
package broker
