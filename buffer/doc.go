// Package buffer keeps records on disk until someone acknowledges them, and
// spares the disk while it does.
//
// A [Store] is one file with one committer. Work is collected in a [Change] and
// handed over by [Change.Commit]; the committer writes everything that waits in
// one transaction. When the done function of a Change is called with nil, the
// Change survives a power cut, or needs no disk any more because every entry in
// it was acknowledged. One that is acknowledged before its turn to be written comes
// never costs a write.
//
// A [Queue] hands out its entries in order and forgets those that were
// acknowledged. Its sequence numbers are never given twice to entries that
// somebody may have seen, whatever was lost in a crash. A [Table] maps keys to
// values, the newest wins.
//
// The package knows nothing of MQTT: records are bytes.
package buffer
