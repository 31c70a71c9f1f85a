package buffer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
)

// Salvaged says what was kept of a damaged file.
type Salvaged struct {
	Queues []SalvagedPart `json:"queues"`
	Tables []SalvagedPart `json:"tables"`
}

// SalvagedPart says it of one queue or table.
type SalvagedPart struct {
	Name string `json:"name"`
	Kept int    `json:"kept"` // entries, or pairs
	Lost int    `json:"lost"` // so many are known to be missing
	// More says that a part of it could not be reached, or that the newest note of
	// what should be there is not known: more than Lost may be missing.
	More bool `json:"more,omitempty"`
}

// Total sums up all queues and tables.
func (s *Salvaged) Total() (t SalvagedPart) {
	for _, list := range [][]SalvagedPart{s.Queues, s.Tables} {
		for _, p := range list {
			t.Kept += p.Kept
			t.Lost += p.Lost
			t.More = t.More || p.More
		}
	}
	return t
}

// Salvage writes what can be kept of the damaged store file from into a fresh one,
// which lies at to, and on disk, when it returns without an error. from is only
// read, with plain reads, and never changed; a page that can not be read is missing
// and the rest goes on. Memory does not grow with the file, but by some 50 bytes for
// each entry that has to be searched for outside of its place.
//
// What is kept has the checksum that it was written with, so nothing is ever wrong;
// what is kept is:
//
//   - every entry and pair that the tree of pages leads to;
//   - of a table, where the tree is broken, what the tree of the commit before says.
//     What lies elsewhere in the file is not taken: nothing tells a deleted or
//     replaced pair from a living one;
//   - of a queue, where the tree is broken, entries from leaves that lie anywhere in
//     the file. Among these are copies of entries that were acknowledged long ago.
//     The state of the queue says how many of each lane are missing, so many are
//     taken, the newest first, because entries are acknowledged roughly in order; and
//     none that is older than all that was found in its place, unless it belongs where
//     the tree is broken. If what the queue holds is not known, none is taken.
//
// A mark of [Queue.Received] is only believed in its place: a wrong one would lose a
// message, a missing one costs a repetition. Numbers jump ahead of everything that
// may have been given out. If a queue or table may have lost something, the fresh file
// is none that goes on where the old one stopped: see [Store.Restored].
//
// The error wraps [ErrNewer] if a newer version wrote the file.
func Salvage(from, to string) (_ Salvaged, err error) {
	f, err := os.Open(from)
	if err != nil {
		return Salvaged{}, fmt.Errorf("salvage: %w", err)
	}
	defer f.Close()
	d, err := openDamaged(f)
	if err != nil {
		return Salvaged{}, fmt.Errorf("salvage %s: %w", from, err)
	}
	kept, err := salvageTo(d, to)
	if err != nil {
		return Salvaged{}, fmt.Errorf("salvage %s: %w", from, err)
	}
	return kept, nil
}

func salvageTo(d *damagedFile, to string) (kept Salvaged, err error) {
	s := &salvage{d: d}
	if err := s.directory(); err != nil {
		return kept, err
	}
	// What may be a small board has nothing else to do meanwhile.
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	// The fresh file is mapped into memory, and its disk may be failing as well.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("write what was read: %v", r)
		}
	}()
	if s.out, err = newFreshFile(to); err != nil {
		return kept, fmt.Errorf("begin a fresh file: %w", err)
	}
	if err = s.run(); err == nil {
		err = s.out.finish()
	}
	if err != nil {
		s.out.discard()
		return kept, err
	}
	return s.kept, nil
}

// salvage is one run of Salvage.
type salvage struct {
	d      *damagedFile
	out    *freshFile
	schema uint64 // of the damaged file; 0: not known
	noted  map[string][]byte
	older  []bucketRef
	queues []*lostQueue
	tables []bucketRef
	kept   Salvaged
	err    error // of writing; nothing is done any more
}

// bucketRef is a bucket as its parent shows it.
type bucketRef struct {
	key    []byte
	root   uint64 // 0: it lies inline
	at     int64
	inline []byte
	newest bool // it is surely the one of the last commit
	found  bool // outside of the tree: where its root is, is not known
}

// directory finds the buckets.
func (s *salvage) directory() error {
	var refs []bucketRef
	lost := []keyRange{{}}
	for i, m := range s.d.metas {
		have, missing := s.buckets(m.root)
		if i == 0 {
			refs, lost = have, missing
			for j := range refs {
				refs[j].newest = consecutive(s.d.metas) // else the newer one could be missing
			}
			continue
		}
		s.older = have
		for _, ref := range have {
			if inRanges(lost, ref.key) && !hasBucket(refs, ref.key) {
				refs = append(refs, ref)
			}
		}
		lost = missing
	}
	if len(lost) > 0 {
		refs = append(refs, s.bucketsElsewhere(refs)...)
	}
	slices.SortFunc(refs, func(a, b bucketRef) int { return bytes.Compare(a.key, b.key) })
	for _, ref := range refs {
		if name, _, ok := splitQueueKey(ref.key); ok {
			s.queues = append(s.queues, newLostQueue(name, ref))
		} else if bytes.HasPrefix(ref.key, []byte(tablePrefix)) {
			s.tables = append(s.tables, ref)
		} else if string(ref.key) == metaBucket {
			s.notes(ref)
		}
	}
	if s.schema > schema {
		return fmt.Errorf("it has schema %d, this version knows %d: %w", s.schema, schema, ErrNewer)
	}
	if len(refs) == 0 {
		return errors.New("nothing can be read of it")
	}
	return nil
}

func hasBucket(refs []bucketRef, key []byte) bool {
	return slices.ContainsFunc(refs, func(r bucketRef) bool { return bytes.Equal(r.key, key) })
}

// buckets reads the top of the tree below root.
func (s *salvage) buckets(root uint64) (refs []bucketRef, lost []keyRange) {
	w := s.d.walker()
	w.lost = func(low, high []byte) { lost = append(lost, keyRange{low, high}) }
	w.leaf = func(p *rawPage, low, high []byte) bool {
		whole := true
		for i := range p.elements(true) {
			e := p.element(i, true)
			ref, ok := s.bucket(&e)
			if !ok || !(keyRange{low, high}).holds(e.key) {
				whole = false
				continue
			}
			if !hasBucket(refs, ref.key) {
				refs = append(refs, ref)
			}
		}
		return whole
	}
	w.tree(root, 0, nil, nil)
	return refs, lost
}

// bucket reads the element of a bucket.
func (s *salvage) bucket(e *rawElement) (ref bucketRef, ok bool) {
	if len(e.key) == 0 || !e.bucket || e.size < bucketSize || e.size > pageSize {
		return ref, false
	}
	_, _, queue := splitQueueKey(e.key)
	if !queue && !bytes.HasPrefix(e.key, []byte(tablePrefix)) && string(e.key) != metaBucket {
		return ref, false
	}
	v := s.d.read(e)
	if v == nil {
		return ref, false
	}
	ref = bucketRef{key: slices.Clone(e.key), root: le.Uint64(v), at: e.value + bucketSize}
	if ref.root == 0 {
		if ref.inline = v[bucketSize:]; len(ref.inline) < pageHeader {
			return ref, false
		}
	}
	return ref, true
}

// bucketsElsewhere looks for copies of what the tree does not lead to any more. The
// names of queues are taken from them, of which the states will tell whether they
// still are.
func (s *salvage) bucketsElsewhere(known []bucketRef) (refs []bucketRef) {
	for id := uint64(2); id < s.d.pages; id++ {
		p, ok := s.d.page(id)
		if !ok || p.flags != leafPage || p.says != id {
			continue
		}
		for i := range p.elements(true) {
			e := p.element(i, true)
			ref, ok := s.bucket(&e)
			if _, _, queue := splitQueueKey(e.key); !ok || !queue || hasBucket(known, ref.key) || hasBucket(refs, ref.key) {
				continue
			}
			ref.found, ref.root, ref.inline = true, 0, nil
			refs = append(refs, ref)
		}
	}
	return refs
}

// notes reads what the file says of itself.
func (s *salvage) notes(ref bucketRef) {
	s.noted = make(map[string][]byte)
	s.walk(ref, nil, func(p *rawPage, _, _ []byte) bool {
		for i := range p.elements(true) {
			if e := p.element(i, true); len(e.key) > 0 && !e.bucket && e.size <= 8 {
				s.noted[string(e.key)] = s.d.read(&e)
			}
		}
		return true
	})
	// Without a sum it is of schema 1, or damaged.
	sum := s.noted[string(schemaSumKey)]
	if have, sound := parseSchema(s.noted[string(schemaKey)], sum); sound && (len(sum) > 0 || have == 1) {
		s.schema = have
	}
}

// goOn has the store go on where it stopped if nothing is missing. Else it is a file
// that knows less than others do, or, where a table has pairs of the commit before,
// something that was true once: see [Store.Restored].
func (s *salvage) goOn() {
	if s.in([]byte(metaBucket)); s.err != nil {
		return
	}
	if t := s.kept.Total(); t.Lost > 0 || t.More {
		return
	}
	for _, k := range [][]byte{runKey, lineageKey} {
		if v := s.noted[string(k)]; v != nil {
			s.put(k, v)
		}
	}
}

// walk goes through a bucket and returns what is lost of it.
func (s *salvage) walk(ref bucketRef, skip func(low, high []byte) bool, leaf func(p *rawPage, low, high []byte) bool) (lost []keyRange) {
	w := s.d.walker()
	w.leaf, w.skip = leaf, skip
	w.lost = func(low, high []byte) { lost = append(lost, keyRange{low, high}) }
	switch {
	case ref.found:
		w.lost(nil, nil)
	case ref.root == 0:
		if p := s.d.inline(ref.at, ref.inline); p.flags == leafPage {
			w.page(p, 0, nil, nil)
		} else {
			w.lost(nil, nil)
		}
	default:
		w.tree(ref.root, 0, nil, nil)
	}
	return lost
}

// value returns the value of e with the checksum that it has today; nil if the one
// that it carries is wrong.
func (s *salvage) value(bucket []byte, e *rawElement) []byte {
	carries, has, ok := s.d.sum(checksumOfKeys(bucket, e.key), e)
	if !ok {
		return nil
	}
	if carries != has {
		if s.schema == schema {
			return nil
		}
		// Schema 1 did not cover the key of the bucket.
		if carries, has, ok = s.d.sum(checksumOfKeys(nil, e.key), e); !ok || carries != has {
			return nil
		}
	}
	v := s.d.read(e)
	if v != nil {
		binary.BigEndian.PutUint32(v, checksum(bucket, e.key, v[4:]))
	}
	return v
}

// put writes into the bucket that was selected.
func (s *salvage) put(key, value []byte) {
	if s.err == nil {
		s.err = s.out.put(slices.Clone(key), value)
	}
}

func (s *salvage) in(bucket []byte) {
	if s.err == nil {
		s.err = s.out.in(bucket)
	}
}

func (s *salvage) run() error {
	for _, ref := range s.tables {
		s.table(ref)
		if s.err != nil {
			return s.err
		}
	}
	for _, q := range s.queues {
		s.queue(q)
		if s.err != nil {
			return s.err
		}
	}
	s.queues = slices.DeleteFunc(s.queues, func(q *lostQueue) bool { return q.known != unknown && q.state.dropped })
	if s.schema != 1 { // whose checksums do not tell what belongs to a queue
		s.findStates()
	}
	for _, q := range s.queues {
		if q.known == unknown && q.lies {
			s.inPlace(q) // nothing speaks against it
		}
	}
	if s.schema != 1 {
		s.findEntries()
	}
	for _, q := range s.queues {
		s.finish(q)
	}
	s.goOn()
	return s.err
}

// table keeps pairs.
func (s *salvage) table(ref bucketRef) {
	part := SalvagedPart{Name: string(ref.key[len(tablePrefix):])}
	s.in(ref.key)
	if s.err != nil {
		return
	}
	var lost []keyRange
	leaf := func(p *rawPage, low, high []byte) bool {
		whole := true
		for i := range p.elements(true) {
			if s.err != nil {
				return true
			}
			e := p.element(i, true)
			if lost != nil && len(e.key) > 0 && !inRanges(lost, e.key) {
				continue // of the commit before, and this one has it
			}
			if len(e.key) == 0 || e.bucket || !(keyRange{low, high}).holds(e.key) {
				whole = false
				continue
			}
			v := s.value(ref.key, &e)
			if v == nil {
				whole = false
				part.Lost++
				continue
			}
			if !s.out.has(e.key) {
				part.Kept++
				s.put(e.key, v)
			}
		}
		return whole
	}
	broken := s.walk(ref, nil, leaf)
	if part.More = len(broken) > 0 || !ref.newest; len(broken) > 0 {
		i := slices.IndexFunc(s.older, func(r bucketRef) bool { return bytes.Equal(r.key, ref.key) })
		if i >= 0 {
			lost = broken
			before := part.Lost
			s.walk(s.older[i], func(low, high []byte) bool {
				return !slices.ContainsFunc(lost, func(r keyRange) bool { return r.meets(low, high) })
			}, leaf)
			part.Lost = before // they were counted
		}
	}
	s.kept.Tables = append(s.kept.Tables, part)
}
