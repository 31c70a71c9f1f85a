package buffer

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"hash/fnv"
	"io"
	"os"
	"slices"
)

// damagedFile reads a store file of which nothing can be believed. It uses plain
// reads: what can not be read, or makes no sense, is missing, and the rest goes on.
type damagedFile struct {
	f       io.ReaderAt
	size    int64
	pages   uint64     // that lie in the file, wholly or in part
	metas   []metaPage // the intact ones, the newest first
	claimed []byte     // a bit per page: its records were read in their place
	chunk   []byte     // scratch of sum
}

func openDamaged(f *os.File) (*damagedFile, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return newDamaged(f, info.Size()), nil
}

func newDamaged(f io.ReaderAt, size int64) *damagedFile {
	d := &damagedFile{f: f, size: size, pages: uint64(size+pageSize-1) / pageSize}
	d.claimed = make([]byte, d.pages/8+1)
	d.chunk = make([]byte, pageBegin)
	d.metas = metasOf(f)
	return d
}

// metasOf returns the meta pages that are intact, the newest first.
func metasOf(f io.ReaderAt) (metas []metaPage) {
	for i := range int64(2) {
		if m, ok := metaAt(f, i); ok {
			metas = append(metas, m)
		}
	}
	slices.SortFunc(metas, func(a, b metaPage) int { return cmp.Compare(b.txid, a.txid) })
	return metas
}

// consecutive reports whether these can be the meta pages of the last two commits:
// each commit replaces the older one. But in a copy that bbolt made of a file in use
// the first commit may replace the newer one.
func consecutive(metas []metaPage) bool {
	return len(metas) == 2 && metas[0].txid > metas[1].txid && metas[0].txid-metas[1].txid <= 2
}

// metaAt reads one of the two meta pages.
func metaAt(f io.ReaderAt, i int64) (m metaPage, ok bool) {
	var b [metaSize]byte
	if _, err := f.ReadAt(b[:], i*pageSize+pageHeader); err != nil {
		return m, false
	}
	sum := fnv.New64a()
	sum.Write(b[:56])
	if le.Uint32(b[0:]) != metaMagic || le.Uint32(b[4:]) != metaVersion ||
		le.Uint32(b[8:]) != pageSize || le.Uint64(b[56:]) != sum.Sum64() {
		return m, false
	}
	return metaPage{root: le.Uint64(b[16:]), freelist: le.Uint64(b[32:]), pages: le.Uint64(b[40:]), txid: le.Uint64(b[48:])}, true
}

func (d *damagedFile) isClaimed(id uint64) bool { return d.claimed[id/8]&(1<<(id%8)) != 0 }

// claim says that nobody needs to look for records in p any more.
func (d *damagedFile) claim(p *rawPage) {
	for id := p.id; id < d.pages && id-p.id < p.size/pageSize; id++ {
		d.claimed[id/8] |= 1 << (id % 8)
	}
}

// rawPage is a page, or a bucket inside of one, and what follows it in the file as
// far as its header claims. Only its first page is in memory.
type rawPage struct {
	d     *damagedFile
	id    uint64 // where it lies
	says  uint64 // where it says that it lies
	flags uint16
	count int
	at    int64
	size  uint64
	begin []byte
}

// page reads a page. ok is false if that can not be done.
func (d *damagedFile) page(id uint64) (p *rawPage, ok bool) {
	if id >= d.pages {
		return nil, false
	}
	b := make([]byte, pageSize)
	if n, err := d.f.ReadAt(b, int64(id)*pageSize); n < pageHeader || err != nil && err != io.EOF {
		return nil, false
	}
	p = d.raw(b)
	p.id, p.at = id, int64(id)*pageSize
	// What claims to be longer than the file is cut: of the elements each is
	// looked at by itself.
	p.size = (min(uint64(le.Uint32(b[12:])), d.pages-id-1) + 1) * pageSize
	return p, true
}

func (d *damagedFile) raw(b []byte) *rawPage {
	return &rawPage{
		d: d, says: le.Uint64(b), flags: le.Uint16(b[8:]), count: int(le.Uint16(b[10:])),
		size: uint64(len(b)), begin: b,
	}
}

// inline is a bucket that lies inside the page of its parent.
func (d *damagedFile) inline(at int64, b []byte) *rawPage {
	p := d.raw(b)
	p.at = at
	return p
}

// bytes returns the bytes from from up to to, or nil.
func (p *rawPage) bytes(from, to uint64) []byte {
	if from > to || to > p.size {
		return nil
	}
	if to <= uint64(len(p.begin)) {
		return p.begin[from:to]
	}
	if to-from > pageBegin {
		return nil
	}
	b := make([]byte, to-from)
	if _, err := p.d.f.ReadAt(b, p.at+int64(from)); err != nil {
		return nil
	}
	return b
}

// rawElement is an element of a leaf or a branch.
type rawElement struct {
	key    []byte // nil: the element makes no sense
	bucket bool   // the value is a bucket
	value  int64  // where it begins in the file
	data   []byte // the value, if it is in memory
	size   uint32 // of the value
	child  uint64 // of a branch
}

// elements returns how many there are. A count that was damaged is known by where
// the first key lies: behind the last element.
func (p *rawPage) elements(leaf bool) int {
	n := p.count
	at := uint64(pageHeader)
	if leaf {
		at += 4
	}
	if b := p.bytes(at, at+4); b != nil && leaf {
		if pos := le.Uint32(b); pos%element == 0 && pos/element > uint32(n) && pos/element <= 0xffff {
			n = int(pos / element)
		}
	}
	return min(n, int((p.size-pageHeader)/element), mostElements)
}

// mostElements is how many a page has at the most: only one that is filled by few,
// large ones is longer than a page.
const mostElements = (pageSize - pageHeader) / element

func (p *rawPage) element(i int, leaf bool) (e rawElement) {
	at := uint64(pageHeader + i*element)
	b := p.bytes(at, at+element)
	if b == nil {
		return e
	}
	if !leaf {
		from := at + uint64(le.Uint32(b))
		e.child = le.Uint64(b[8:])
		e.key = p.bytes(from, from+uint64(le.Uint32(b[4:])))
		return e
	}
	from := at + uint64(le.Uint32(b[4:]))
	to := from + uint64(le.Uint32(b[8:]))
	e.size = le.Uint32(b[12:])
	if to+uint64(e.size) > p.size {
		return e
	}
	e.bucket = le.Uint32(b)&bucketLeaf != 0
	e.value = p.at + int64(to)
	if end := to + uint64(e.size); end <= uint64(len(p.begin)) {
		e.data = p.begin[to:end]
	}
	e.key = p.bytes(from, to)
	return e
}

// read returns a copy of a value, nil if it can not be read.
func (d *damagedFile) read(e *rawElement) []byte {
	b := make([]byte, e.size)
	if e.data != nil {
		copy(b, e.data)
		return b
	}
	if _, err := d.f.ReadAt(b, e.value); err != nil {
		return nil
	}
	return b
}

// sum returns the checksum that the value of e carries and the one that it has. A
// value may claim any length, so it takes no memory before it is known to be right.
func (d *damagedFile) sum(start uint32, e *rawElement) (carries, has uint32, ok bool) {
	if e.size < 4 {
		return 0, 0, false
	}
	if e.data != nil {
		return binary.BigEndian.Uint32(e.data), crc32.Update(start, castagnoli, e.data[4:]), true
	}
	has = start
	at, left, first := e.value, int64(e.size), true
	for left > 0 {
		b := d.chunk[:min(left, int64(len(d.chunk)))]
		if _, err := d.f.ReadAt(b, at); err != nil {
			return 0, 0, false
		}
		at, left = at+int64(len(b)), left-int64(len(b))
		if first {
			carries, first = binary.BigEndian.Uint32(b), false
			b = b[4:]
		}
		has = crc32.Update(has, castagnoli, b)
	}
	return carries, has, true
}

// walker goes through a tree.
type walker struct {
	d    *damagedFile
	seen []byte // a bit per page: a pointer that was damaged must not lead in circles

	// leaf gets each leaf page, whose keys should be from low up to, not including,
	// high; nil is no bound. It returns false if something is missing there.
	leaf func(p *rawPage, low, high []byte) bool
	// lost is told of the keys that can not be reached.
	lost func(low, high []byte)
	// skip says that nobody wants these keys; nil: all are wanted.
	skip func(low, high []byte) bool
}

func (d *damagedFile) walker() *walker { return &walker{d: d, seen: make([]byte, d.pages/8+1)} }

func (w *walker) tree(id uint64, depth int, low, high []byte) {
	if w.skip != nil && w.skip(low, high) {
		return
	}
	if depth > deepest || id < 2 || id >= w.d.pages || w.seen[id/8]&(1<<(id%8)) != 0 {
		w.lost(low, high)
		return
	}
	w.seen[id/8] |= 1 << (id % 8)
	p, ok := w.d.page(id)
	if !ok || p.says != id || p.flags != branchPage && p.flags != leafPage {
		w.lost(low, high)
		return
	}
	w.page(p, depth, low, high)
}

func (w *walker) page(p *rawPage, depth int, low, high []byte) {
	if p.flags == leafPage {
		if !w.leaf(p, low, high) {
			w.lost(low, high)
		}
		return
	}
	n := p.elements(false)
	if n == 0 {
		w.lost(low, high)
		return
	}
	elements := make([]rawElement, n)
	for i := range elements {
		elements[i] = p.element(i, false)
		elements[i].key = slices.Clone(elements[i].key)
	}
	straighten(elements, low, high)
	for i := range elements {
		from, to := low, high
		for j := i; j >= 0; j-- {
			if elements[j].key != nil {
				from = elements[j].key
				break
			}
		}
		for j := i + 1; j < n; j++ {
			if elements[j].key != nil {
				to = elements[j].key
				break
			}
		}
		w.tree(elements[i].child, depth+1, from, to)
	}
}

// straighten takes away the keys that can not be right: what their neighbours say
// bounds the children then.
func straighten(elements []rawElement, low, high []byte) {
	last := low
	for i := range elements {
		k := elements[i].key
		if len(k) == 0 || last != nil && bytes.Compare(k, last) < 0 || high != nil && bytes.Compare(k, high) >= 0 {
			elements[i].key = nil
			continue
		}
		// One that is above its successor is the wrong one of the two if the
		// successor fits behind what came before.
		if i+1 < len(elements) {
			next := elements[i+1].key
			if len(next) > 0 && bytes.Compare(k, next) >= 0 && (last == nil || bytes.Compare(next, last) > 0) {
				elements[i].key = nil
				continue
			}
		}
		last = k
	}
}

// keyRange is a range of keys: from low up to, not including, high; nil is no bound.
type keyRange struct{ low, high []byte }

func (r keyRange) holds(k []byte) bool {
	return (r.low == nil || bytes.Compare(k, r.low) >= 0) && (r.high == nil || bytes.Compare(k, r.high) < 0)
}

func (r keyRange) meets(low, high []byte) bool {
	return (r.low == nil || high == nil || bytes.Compare(r.low, high) < 0) &&
		(low == nil || r.high == nil || bytes.Compare(low, r.high) < 0)
}

func inRanges(ranges []keyRange, k []byte) bool {
	return slices.ContainsFunc(ranges, func(r keyRange) bool { return r.holds(k) })
}
