package cloud

import "time"

// Status is a snapshot of a bridge. Counters run since New.
type Status struct {
	Name      string
	ClientID  string
	Connected bool
	Server    string    // URL of the server in use, or of the last one that was tried
	Since     time.Time // of Connected's present value

	// SessionExpiry is how long the server keeps the session after the link went, as
	// it said last: so long a cut may last for exactly once to hold. 0: for ever, or
	// not known yet.
	SessionExpiry time.Duration

	Queued      int       // messages that wait for the server's acknowledgement
	QueuedBytes int64     // the same, in bytes of record
	Oldest      time.Time // when the oldest one was queued; zero if nothing waits or it is not known
	InFlight    int       // of those, sent in this connection

	// Draining is set while what waited when the link came up is on its way; it is not
	// modified. nil: there is no backlog, or no link.
	Draining *Draining

	Sent       int64 // acknowledged by the server; QoS 0: handed to the network
	Received   int64 // messages from the server that are safe here
	Resent     int64 // messages sent with DUP
	Duplicates int64 // messages from the server that were here already and went nowhere
	Dropped    int64 // by the limits of the queue
	Expired    int64 // too old before they were sent
	Replaced   int64 // by a newer message of the topic before they were sent
	Purged     int64 // taken from the queue by a person
	Rejected   int64 // set aside because the server will never take them
	Refused    int64 // messages from the server that this gateway did not take

	Connects     int64 // accepted connections
	Reconnects   int64 // accepted connections after the first
	SessionsLost int64 // the server had forgotten us: what it had not finished was sent again as new

	// LastError says why the link was lost, until the next one has lasted, else
	// what went wrong on the link that is up; "": nothing.
	LastError   string
	LastErrorAt time.Time // with its monotonic reading
}
