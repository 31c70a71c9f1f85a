package buffer

import (
	"bytes"
	"errors"
	"fmt"
)

// bucketCheck counts what is in a bucket, to be held against what it says itself.
type bucketCheck struct {
	key   []byte
	found [Lanes]laneState
	vague [Lanes]bool // the size of some entry can not be told
	state []byte

	schema []byte // of the bucket that holds it; state is its checksum
}

// pair counts a key with its value, which lies from from up to to in p.
func (c *checker) pair(p *pageData, k []byte, from, to uint64) error {
	b := c.bucket
	if b == nil {
		return errors.New("a value lies beside the buckets")
	}
	switch kind, _, ok := splitKey(k); {
	case string(b.key) == metaBucket:
		v, err := p.bytes(from, to)
		switch {
		case err != nil:
			return err
		case bytes.Equal(k, schemaKey):
			b.schema = bytes.Clone(v)
		case bytes.Equal(k, schemaSumKey):
			b.state = bytes.Clone(v)
		}
	case !bytes.HasPrefix(b.key, []byte(queuePrefix)):
	case bytes.Equal(k, stateKey):
		v, err := p.bytes(from, to)
		if err != nil {
			return err
		}
		b.state = bytes.Clone(v)
	case ok && kind < Lanes:
		// The header says how long it is and so how much is data.
		head, err := p.bytes(from, min(to, from+headerSize+deadlineSize+keyHashSize+ageSize))
		if err != nil {
			return err
		}
		l := &b.found[kind]
		l.n++
		n := dataAt(head)
		if l.bytes += int64(to-from) - int64(n); n < 0 {
			b.vague[kind] = true // this one is damaged, which is found out when it is read
		}
	}
	return nil
}

// compare is for the end of a bucket. What another schema notes is not known here.
// The first bucket by name is the one that tells the schema.
func (c *checker) compare() error {
	b := c.bucket
	if string(b.key) == metaBucket {
		have, sound := parseSchema(b.schema, b.state)
		if !sound {
			return errors.New("the number of the schema is damaged")
		}
		c.schema = have
		return nil
	}
	if c.schema != schema || !bytes.HasPrefix(b.key, []byte(queuePrefix)) {
		return nil
	}
	name, _, ok := splitQueueKey(b.key)
	if !ok {
		return fmt.Errorf("%q is no name of a queue", b.key)
	}
	st, err := decodeQueueState(b.key, b.state)
	if err != nil {
		return fmt.Errorf("queue %q: %w", name, err)
	}
	if st.dropped {
		return nil // it is removed in slices
	}
	for i := range st.lanes {
		noted, found := &st.lanes[i], &b.found[i]
		if noted.n != found.n || noted.bytes != found.bytes && !b.vague[i] {
			return fmt.Errorf("queue %q notes %d entries with %d bytes in lane %d, and %d with %d are there",
				name, noted.n, noted.bytes, i, found.n, found.bytes)
		}
	}
	return nil
}
