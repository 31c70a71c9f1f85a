package buffer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"go.etcd.io/bbolt"
)

// Check reads the whole file at path and returns nil if it can be opened and read
// without harm: every page that is in use is what its parent says, inside the file,
// used once, and its keys are in order; and every queue holds as many entries and
// bytes as it notes, so that a page of an earlier day is found out. It reads with plain reads and maps nothing,
// so a damaged file can not fault it; its memory does not grow with the file. It
// does not verify the checksums of records, which are checked when they are read.
// The error wraps [ErrLocked] if another process has the file open for writing.
func Check(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("%s: %w", path, ErrLocked)
		}
		return fmt.Errorf("lock %s: %w", path, err)
	}
	m, err := readMetaFrom(f)
	if err != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	c := &checker{f: f, pages: m.pages, seen: make([]byte, m.pages/8+1)}
	c.use(0, 2) // the two meta pages
	if m.freelist != noFreelist {
		if err := c.freelist(m.freelist); err != nil {
			return fmt.Errorf("check %s: %w", path, err)
		}
	}
	if err := c.tree(m.root, 0, nil, nil); err != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	return nil
}

// The layout of a bbolt file, as far as it is needed here: numbers in the byte
// order of the machine, which is little-endian on everything this runs on.
const (
	metaMagic   = 0xed0cdaed
	metaVersion = 2
	metaSize    = 64 // behind the header of the page

	pageHeader = 16 // id 8, flags 2, count 2, overflow 4
	element    = 16
	branchPage = 1
	leafPage   = 2
	freePage   = 0x10
	bucketLeaf = 1 // flag of a leaf element
	bucketSize = 16
	noFreelist = ^uint64(0)
	deepest    = 64 // levels; far more than a file can hold
)

var le = binary.LittleEndian

type metaPage struct {
	root, freelist, pages, txid uint64
}

func readMeta(path string) (metaPage, error) {
	f, err := os.Open(path)
	if err != nil {
		return metaPage{}, err
	}
	defer f.Close()
	return readMetaFrom(f)
}

// readMetaFrom returns the newer of the two meta pages.
func readMetaFrom(f *os.File) (m metaPage, err error) {
	info, err := f.Stat()
	if err != nil {
		return m, err
	}
	metas := metasOf(f)
	switch {
	case len(metas) == 0:
		return m, errors.New("no intact meta page")
	case !consecutive(metas):
		// A torn write does not do this: what a meta page says is within one sector.
		// Was it the newer one, then the last commit is missing.
		return metas[0], errors.New("one of the two meta pages is damaged")
	}
	m = metas[0]
	if m.pages < 4 || m.pages > uint64(info.Size())/pageSize {
		return m, fmt.Errorf("the file is truncated: %d pages in use, %d bytes", m.pages, info.Size())
	}
	return m, nil
}

type checker struct {
	f      *os.File
	pages  uint64
	seen   []byte // a bit per page
	schema uint64 // of what is inside; 0: not seen yet
	bucket *bucketCheck
}

// use marks n pages from id on, each of which may be used once.
func (c *checker) use(id, n uint64) error {
	if id >= c.pages || n > c.pages-id {
		return fmt.Errorf("page %d with %d pages lies outside of the %d in use", id, n, c.pages)
	}
	for i := id; i < id+n; i++ {
		if c.seen[i/8]&(1<<(i%8)) != 0 {
			return fmt.Errorf("page %d is used twice", i)
		}
		c.seen[i/8] |= 1 << (i % 8)
	}
	return nil
}

// pageData is a page with what follows it. Only its beginning is in memory: one
// that holds a large value, or claims to, must not take memory for it.
type pageData struct {
	c     *checker
	at    int64
	size  uint64
	begin []byte
}

const pageBegin = 64 << 10

// bytes returns the bytes from from to to.
func (p *pageData) bytes(from, to uint64) ([]byte, error) {
	if from > to || to > p.size {
		return nil, fmt.Errorf("bytes %d to %d lie outside of the page", from, to)
	}
	if to <= uint64(len(p.begin)) {
		return p.begin[from:to], nil
	}
	if to-from > pageBegin {
		return nil, fmt.Errorf("%d bytes are too long for a key", to-from)
	}
	b := make([]byte, to-from)
	_, err := p.c.f.ReadAt(b, p.at+int64(from))
	return b, err
}

// page reads a page.
func (c *checker) page(id uint64) (*pageData, error) {
	var head [pageHeader]byte
	if id >= c.pages {
		return nil, fmt.Errorf("page %d lies outside of the %d in use", id, c.pages)
	}
	if _, err := c.f.ReadAt(head[:], int64(id)*pageSize); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	if got := le.Uint64(head[:]); got != id {
		return nil, fmt.Errorf("page %d says that it is page %d", id, got)
	}
	n := uint64(le.Uint32(head[12:])) + 1
	if err := c.use(id, n); err != nil {
		return nil, err
	}
	p := &pageData{c: c, at: int64(id) * pageSize, size: n * pageSize}
	p.begin = make([]byte, min(p.size, pageBegin))
	if _, err := c.f.ReadAt(p.begin, p.at); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	return p, nil
}

func (c *checker) freelist(id uint64) error {
	p, err := c.page(id)
	if err != nil {
		return err
	}
	if le.Uint16(p.begin[8:]) != freePage {
		return fmt.Errorf("page %d is not a list of free pages", id)
	}
	n, at := uint64(le.Uint16(p.begin[10:])), uint64(pageHeader)
	if n == 0xffff {
		n, at = le.Uint64(p.begin[pageHeader:]), pageHeader+8
	}
	if n > (p.size-at)/8 {
		return fmt.Errorf("page %d lists more pages than it has room for", id)
	}
	for ; n > 0; n, at = n-1, at+8 {
		b, err := p.bytes(at, at+8)
		if err == nil {
			err = c.use(le.Uint64(b), 1)
		}
		if err != nil {
			return fmt.Errorf("list of free pages: %w", err)
		}
	}
	return nil
}

// tree checks the pages below id, whose keys are from low up to, not including,
// high; nil is no bound.
func (c *checker) tree(id uint64, depth int, low, high []byte) error {
	if depth > deepest {
		return fmt.Errorf("page %d lies deeper than %d levels", id, deepest)
	}
	p, err := c.page(id)
	if err != nil {
		return err
	}
	if err := c.content(p, depth, low, high); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (c *checker) content(p *pageData, depth int, low, high []byte) error {
	b := p.begin
	flags, n := le.Uint16(b[8:]), int(le.Uint16(b[10:]))
	if flags != branchPage && flags != leafPage {
		return fmt.Errorf("flags %#x are those of no page of a tree", flags)
	}
	if uint64(n) > (p.size-pageHeader)/element {
		return fmt.Errorf("%d elements do not fit", n)
	}
	b, err := p.bytes(0, uint64(pageHeader+n*element))
	if err != nil {
		return err
	}
	if flags == branchPage && n == 0 {
		return errors.New("branch without children")
	}
	key := func(i int) ([]byte, error) {
		at := pageHeader + i*element
		posAt, sizeAt := at, at+4
		if flags == leafPage {
			posAt, sizeAt = at+4, at+8
		}
		from := uint64(at) + uint64(le.Uint32(b[posAt:]))
		to := from + uint64(le.Uint32(b[sizeAt:]))
		if from < uint64(len(b)) {
			return nil, fmt.Errorf("element %d lies among the others", i)
		}
		return p.bytes(from, to)
	}
	var last []byte
	for i := range n {
		k, err := key(i)
		if err != nil {
			return err
		}
		if i > 0 && bytes.Compare(last, k) >= 0 || i == 0 && low != nil && bytes.Compare(k, low) < 0 ||
			high != nil && bytes.Compare(k, high) >= 0 {
			return fmt.Errorf("key of element %d is out of order", i)
		}
		last = k
		at := pageHeader + i*element
		if flags == leafPage {
			err = c.leaf(p, k, b[at:at+element], uint64(at), depth)
		} else {
			next := high
			if i+1 < n {
				if next, err = key(i + 1); err != nil {
					return err
				}
			}
			err = c.tree(le.Uint64(b[at+8:]), depth+1, k, next)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leaf checks the value of element b at at: a plain one, or a bucket.
func (c *checker) leaf(p *pageData, k, b []byte, at uint64, depth int) error {
	from := at + uint64(le.Uint32(b[4:])) + uint64(le.Uint32(b[8:]))
	to := from + uint64(le.Uint32(b[12:]))
	if to > p.size {
		return errors.New("a value lies outside of its page")
	}
	if le.Uint32(b)&bucketLeaf == 0 {
		return c.pair(p, k, from, to)
	}
	if c.bucket != nil {
		return errors.New("a bucket lies inside of a bucket")
	}
	c.bucket = &bucketCheck{key: slices.Clone(k)}
	if err := c.inside(p, from, to, depth); err != nil {
		return err
	}
	err := c.compare()
	c.bucket = nil
	return err
}

// inside checks a bucket.
func (c *checker) inside(p *pageData, from, to uint64, depth int) error {
	v, err := p.bytes(from, to)
	if err != nil {
		return err
	}
	if len(v) < bucketSize {
		return errors.New("a bucket is cut off")
	}
	if root := le.Uint64(v); root != 0 {
		return c.tree(root, depth+1, nil, nil)
	}
	inline := v[bucketSize:]
	if len(inline) < pageHeader || le.Uint16(inline[8:]) != leafPage {
		return errors.New("a bucket inside a page is cut off")
	}
	return c.content(&pageData{c: c, size: uint64(len(inline)), begin: inline}, depth+1, nil, nil)
}

// lastTx returns the number of the last transaction of an open file.
func lastTx(db *bbolt.DB) (id uint64) {
	db.View(func(tx *bbolt.Tx) error {
		id = uint64(tx.ID())
		return nil
	})
	return id
}

// fileSize returns the size of an open file, 0 if it can not be had.
func fileSize(db *bbolt.DB) int64 {
	info, err := os.Stat(db.Path())
	if err != nil {
		return 0
	}
	return info.Size()
}
