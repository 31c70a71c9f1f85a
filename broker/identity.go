package broker

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"edgegateway/buffer"
)

// Every message has an identity of 16 bytes, by which who gets it twice can tell:
// 8 random bytes of the run of the gateway, and a counter. No two runs share the
// random bytes, and so neither a backup that is put back, nor a file that is copied
// to another machine, makes two messages of one identity.
//
// In a record the run is a tag of 4 bytes. The table of runs has the random bytes of
// the tag. It is written with the first message of the run or before, so what is on
// disk can be told.

// runTag stands for a run of the gateway in this store. It is random as well, and
// not a number that counts up: should the table be lost, a number would be given
// again.
type runTag [4]byte

// runs are those whose messages may still be on disk.
type runs struct {
	known  map[runTag][8]byte // does not change once the broker is there
	newest uint64             // they are numbered
	old    []runTag           // to be taken away
}

// mostRuns is how many runs are known: so many starts of the gateway a message may
// outlive in a queue, or as a retained one. We chose it.
const mostRuns = 4096

func loadRuns(table *buffer.Table) (runs, error) {
	r := runs{known: make(map[runTag][8]byte)}
	numbers := make(map[runTag]uint64)
	err := table.Each(func(key, value []byte) error {
		if len(key) == 4 && len(value) == 16 {
			tag, number := runTag(key), binary.BigEndian.Uint64(value[8:])
			r.known[tag], numbers[tag] = [8]byte(value), number
			r.newest = max(r.newest, number)
		}
		return nil
	})
	if err != nil {
		return r, fmt.Errorf("load the runs of the gateway: %w", err)
	}
	for tag, number := range numbers {
		if number+mostRuns <= r.newest {
			r.old = append(r.old, tag)
		}
	}
	return r, nil
}

// begin adds the present run and returns its tag.
func (r *runs) begin(incarnation [8]byte) runTag {
	tag := runTag(incarnation[:4])
	for {
		if _, taken := r.known[tag]; !taken {
			break
		}
		rand.Read(tag[:]) // never fails
	}
	r.newest++
	r.known[tag] = incarnation
	return tag
}

// save notes a run, and forgets those that are too long ago.
func (r *runs) save(change *buffer.Change, table *buffer.Table, tag runTag) {
	random := r.known[tag]
	change.Put(table, tag[:], binary.BigEndian.AppendUint64(random[:], r.newest), buffer.Idle)
	for _, old := range r.old {
		change.Delete(table, old[:], buffer.Idle)
	}
	r.old = nil
}

const fullID = 16 // bytes of an identity

// nextID appends the identity of one more message, as records have it.
func (b *Broker) nextID(dst []byte) []byte {
	if b.messages == 0 {
		// Committed before the message is, so it is written with it or before.
		c := b.store.Begin()
		b.runs.save(c, b.tables.runs, b.run)
		c.Commit(nil)
	}
	b.messages++
	return binary.AppendUvarint(append(dst, b.run[:]...), b.messages)
}

// identity is the full identity of a record.
func (r *runs) identity(v *recordView) (id [16]byte) {
	if len(v.id) == fullID {
		return [16]byte(v.id)
	}
	tag := runTag(v.id)
	random, ok := r.known[tag]
	if !ok {
		// Not what it was before the table was lost, but of no other message.
		copy(random[:], tag[:])
		binary.BigEndian.PutUint32(random[4:], crc32.ChecksumIEEE(v.packet))
	}
	copy(id[:], random[:])
	counter, _ := binary.Uvarint(v.id[len(tag):])
	binary.BigEndian.PutUint64(id[8:], counter)
	return id
}
