package buffer

import "time"

// Stats is a snapshot of a store. Counters run since Open.
type Stats struct {
	BytesWritten int64 // pages, without the file system's own journal
	Commits      int64
	Fsyncs       int64
	Failures     int64 // commits that ended with an error and were tried again
	Compactions  int64 // the file was copied into a smaller one; their bytes are among those written

	Latency     time.Duration // of the last commit
	LatencyMean time.Duration // of all
	LatencyMax  time.Duration

	Cancelled      int64 // entries that were acknowledged before they were written
	CancelledBytes int64
	Records        int64 // written
	Damaged        int64 // records with a wrong checksum, skipped

	Busy time.Duration // how long the commit that is under way has been waiting for the disk; 0: there is none

	FileSize     int64
	PendingBytes int64 // wait for a commit
	Pending      int   // Changes that wait for a commit

	Full     bool   // the last commit failed for want of space
	Err      string // why the last commit failed; "" if it did not
	SetAside string // where a damaged file was moved; "" if none was, or ClearDamage was called since

	// Damage is the last one that ClearDamage was not called for since, of this or
	// an earlier run; nil if there is none. It must not be modified.
	Damage *Damage
}

// QueueStats is a snapshot of a queue. Messages, Bytes and MaybeSent count what
// is not acknowledged; counters run since Open.
type QueueStats struct {
	Messages  int
	Bytes     int64
	Oldest    time.Time // when the oldest entry was appended, wall clock, or a little before; zero if there is none
	InFlight  int       // handed out, not acknowledged
	MaybeSent int       // in memory, handed out now or before

	Appended int64
	Acked    int64
	Dropped  int64 // by limits or damage
	Refused  int64
	Rejected int64
	Damaged  int64
	Expired  int64 // their deadline passed, or their age, before they were sent
	Replaced int64 // by a newer value of the same key, before they were sent
	Purged   int64

	AckTime time.Duration // smoothed time from Next to Ack; 0 if none was measured
}
