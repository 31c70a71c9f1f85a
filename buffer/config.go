package buffer

import (
	"errors"
	"fmt"
	"math/bits"
	"time"
)

// Config says how long work may wait for the disk and how much room it may
// take. It is plain data; sizes are bytes.
type Config struct {
	// Sync is the longest time that an acknowledgement waits for others, so that
	// they share one commit. 0 commits at once.
	//
	// It holds for operations of class [Sync], Lazy and RetainedEvery for those of
	// [Lazy] and [Idle].
	Sync time.Duration `toml:"sync"`
	// Lazy is the same for what nobody waits for, such as readings of devices.
	Lazy time.Duration `toml:"lazy"`
	// RetainedEvery is the longest time that retained values of devices stay in
	// memory when no other commit takes them along.
	RetainedEvery time.Duration `toml:"retained_every"`
	// MaxSize is the largest size of the file. On a 32-bit system it is 512 MiB at
	// most, whatever is said here.
	MaxSize int64 `toml:"max_size,bytes"`
	// Memory bounds what waits in memory for a commit. Half by default on a 32-bit
	// system.
	Memory int64 `toml:"memory,bytes"`
}

// We chose these.
const (
	smallestMaxSize = 1 << 20
	smallestMemory  = 64 << 10

	// A 32-bit process maps the file into 2 or 3 GiB of addresses that it shares
	// with everything else.
	largestMaxSize32 = 512 << 20
)

// DefaultConfig returns what suits a Raspberry Pi with an SD card.
func DefaultConfig() Config {
	c := Config{
		Sync:          50 * time.Millisecond,
		Lazy:          5 * time.Second,
		RetainedEvery: 10 * time.Minute,
		MaxSize:       512 << 20,
		Memory:        16 << 20,
	}
	if bits.UintSize == 32 {
		c.Memory = 8 << 20
	}
	return c
}

// mappable is how large a file may become of which a system with words of so many
// bits is to map all.
func mappable(size int64, bits int) int64 {
	if bits == 32 {
		return min(size, largestMaxSize32)
	}
	return size
}

// Validate returns nil if a store can run with c, else one sentence per problem,
// each beginning with the key.
func (c Config) Validate() error {
	var errs []error
	durations := []struct {
		key     string
		d, most time.Duration
	}{
		{"sync", c.Sync, time.Minute},
		{"lazy", c.Lazy, time.Hour},
		{"retained_every", c.RetainedEvery, 24 * time.Hour},
	}
	for _, d := range durations {
		if d.d < 0 || d.d > d.most {
			errs = append(errs, fmt.Errorf("%s must be between 0s and %s", d.key, d.most))
		}
	}
	if c.MaxSize < smallestMaxSize {
		errs = append(errs, fmt.Errorf("max_size must be at least %d bytes", smallestMaxSize))
	}
	if c.Memory < smallestMemory {
		errs = append(errs, fmt.Errorf("memory must be at least %d bytes", smallestMemory))
	}
	return errors.Join(errs...)
}

// Policy says what a full queue does with one more record.
type Policy uint8

const (
	// DropOldest makes room: the oldest entry that was certainly never sent goes,
	// from the lowest lane that is not above the lane of the new entry. If there
	// is none, the new record is not taken.
	DropOldest Policy = iota
	// DropNewest does not take the new record, and counts it as dropped.
	DropNewest
	// Refuse does not take the new record, and counts it as refused.
	Refuse
	// KeepLast keeps of the entries with one [Record].Key only the newest, wherever
	// in the queue that is: at its Commit an entry replaces the older one, unless that
	// one may have been sent. Then both stay, and both are sent. On disk the older one
	// goes with the commit that brings the newer one, so that one of them is there.
	// Records without a key replace nothing. A full queue behaves as with DropOldest.
	//
	// Which entry holds the newest value is known, in memory, of 65,536 keys in all
	// queues of a store together. Of more keys than that several values may wait, in
	// order. Two keys are told apart by these 64 bits alone. Entries from before the
	// policy was set count if they had a key.
	KeepLast
)

// drops reports whether a full queue drops what it has.
func (p Policy) drops() bool { return p == DropOldest || p == KeepLast }

// Limits bound a queue. 0 means no limit.
type Limits struct {
	Messages int
	Bytes    int64 // of record data, without the overhead of the file
	WhenFull Policy

	// Values has records with a key replace older ones as under KeepLast, whatever
	// WhenFull says of the limits.
	Values bool

	// Age is the longest time, by [Store.Clock] and to the second above, that an entry
	// waits; every entry gets it at Append. One that is too old, or has passed the
	// deadline of its [Record], and was certainly never sent, is dropped: before Next
	// would hand it out, and else, of a queue on disk, within minutes where most is
	// due, and within an hour in a million entries. What may have been sent is never
	// dropped for that.
	Age time.Duration
}

// Urgency says who waits for an operation.
type Urgency uint8

const (
	// Idle: nobody waits, and it may stay in memory for long. Idle operations
	// never hold back the done function of their Change.
	Idle Urgency = iota
	// Lazy: nobody waits.
	Lazy
	// Sync: somebody waits.
	Sync
)

func (u Urgency) String() string {
	return [...]string{"idle", "lazy", "sync"}[min(u, Sync)]
}
