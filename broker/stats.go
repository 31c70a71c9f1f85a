package broker

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// Stats is a snapshot. Counters run since New.
type Stats struct {
	Uptime time.Duration

	// Now:
	Connections      int // network connections
	Clients          int // connected clients
	ClientsMaximum   int // the most that there were
	Sessions         int // connected or not, without those of Locals
	Subscriptions    int
	Shared           int // of these, to shared subscriptions
	RetainedMessages int
	RetainedBytes    int64
	Queued           int // in the queues of all sessions, without those of Locals
	QueuedBytes      int64
	PacketsWaiting   int // for sockets to take them, without those being written
	BytesWaiting     int64

	Sockets            int64 // accepted network connections
	ConnectionsTotal   int64 // accepted CONNECTs
	ConnectionsRefused int64
	NotMQTT            int64 // connections that did not begin with an MQTT CONNECT
	ProtocolErrors     int64 // packets that ended their connection
	Panics             int64
	SessionsExpired    int64
	Wills              int64 // published
	StoreFailures      int64 // messages that were not accepted because they could not be written

	BytesReceived   int64
	BytesSent       int64
	PacketsReceived int64
	PacketsSent     int64

	PublishReceived      int64
	PublishSent          int64 // to clients, resent ones included
	PublishDropped       int64 // for one subscriber: too slow at QoS 0, queue full, expired, too large
	PublishReplaced      int64 // for one subscriber: by a newer message of the topic, where only the last one is kept
	PublishPurged        int64 // for one subscriber: taken from the queue by a person
	PublishRefused       int64
	PublishBytesReceived int64 // of payload
	PublishBytesSent     int64 // of payload
}

// counters are those that are counted without the broker's lock.
type counters struct {
	bytesIn, bytesOut     atomic.Int64
	packetsIn, packetsOut atomic.Int64
	sent, sentBytes       atomic.Int64
	dropped               atomic.Int64
	refused               atomic.Int64
	notMQTT               atomic.Int64
	protocolErrors        atomic.Int64
	panics                atomic.Int64
	storeFailures         atomic.Int64
}

// Stats returns a snapshot.
func (b *Broker) Stats() Stats {
	b.mu.Lock()
	st := b.stats
	st.Connections = len(b.conns) - b.crowded
	st.Clients = b.connected
	st.Sessions = len(b.sessions)
	st.Subscriptions = b.filters.Len() - len(b.shares) + b.sharedSubscriptions
	st.Shared = b.sharedSubscriptions
	st.RetainedMessages = b.retained.names.Len()
	st.RetainedBytes = b.retained.bytes
	for _, s := range b.sessions {
		if s.queue != nil {
			q := s.queue.Stats()
			st.Queued += q.Messages
			st.QueuedBytes += q.Bytes
			st.countQueue(&q)
		}
	}
	k := &b.counters
	for c := range b.conns {
		c.out.mu.Lock()
		packets, bytes, waiting, waitingBytes := c.out.countLocked()
		k.packetsOut.Add(packets)
		k.bytesOut.Add(bytes)
		st.PacketsWaiting += int(waiting)
		st.BytesWaiting += waitingBytes
		c.out.mu.Unlock()
	}
	b.mu.Unlock()
	st.Uptime = time.Since(b.started)
	st.ConnectionsRefused = k.refused.Load()
	st.NotMQTT = k.notMQTT.Load()
	st.ProtocolErrors = k.protocolErrors.Load()
	st.Panics = k.panics.Load()
	st.StoreFailures = k.storeFailures.Load()
	st.BytesReceived = k.bytesIn.Load()
	st.BytesSent = k.bytesOut.Load()
	st.PacketsReceived = k.packetsIn.Load()
	st.PacketsSent = k.packetsOut.Load()
	st.PublishSent += k.sent.Load()
	st.PublishBytesSent += k.sentBytes.Load()
	st.PublishDropped += k.dropped.Load()
	return st
}

// countQueue adds what never left the queue of a session.
func (st *Stats) countQueue(q *buffer.QueueStats) {
	st.PublishDropped += q.Dropped + q.Refused + q.Expired
	st.PublishReplaced += q.Replaced
	st.PublishPurged += q.Purged
}

// ClientInfo describes the session of an MQTT client.
type ClientInfo struct {
	ID            string
	Version       packet.Version
	Address       string // "" while it is not connected
	Username      string // of the last connection of this run
	Connected     bool
	Persistent    bool          // the session outlives the connection
	Since         time.Time     // of the connection, or of its end; zero: before this run
	Expiry        time.Duration // of the session, after the end of its connection; negative: never
	Subscriptions int
	Queued        int
	QueuedBytes   int64
	InFlight      int
	Dropped       int64
	Replaced      int64 // by a newer message of the topic
	Purged        int64 // by a person
}

// Clients lists the sessions of MQTT clients by identifier.
func (b *Broker) Clients() []ClientInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]ClientInfo, 0, len(b.sessions))
	for _, s := range b.sessions {
		i := ClientInfo{
			ID:            s.id,
			Version:       s.version,
			Username:      s.username,
			Connected:     s.conn != nil,
			Persistent:    s.expiry > 0,
			Since:         s.since,
			Expiry:        time.Duration(s.expiry) * time.Second,
			Subscriptions: len(s.subs.list),
			Dropped:       s.dropped,
		}
		if s.expiry == neverExpires {
			i.Expiry = -1
		}
		if s.conn != nil {
			i.Address = s.conn.address()
		}
		s.mu.Lock()
		i.InFlight = s.out.underWay()
		s.mu.Unlock()
		if s.queue != nil {
			q := s.queue.Stats()
			i.Queued, i.QueuedBytes = q.Messages, q.Bytes
			i.Dropped += q.Dropped + q.Refused + q.Expired
			i.Replaced, i.Purged = q.Replaced, q.Purged
		}
		list = append(list, i)
	}
	slices.SortFunc(list, func(x, y ClientInfo) int { return strings.Compare(x.ID, y.ID) })
	return list
}
