package powercut

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// sector is what a disk writes as a whole.
const sector = 512

// Disk is one directory: what is certain to be on it, and what may be.
type Disk struct {
	names   map[string]*file // since the directory was synced
	renames []rename         // since then, in order
	now     map[string]*file
}

// file is the content of one. Bytes beyond data, up to size, are zero.
type file struct {
	content
	steps []step // since it was synced
	size  int64  // after the steps
}

type content struct {
	data []byte
	end  int64
}

// step is a write, or a change of the size if there is no data.
type step struct {
	at   int64
	data []byte
	size int64 // of the file behind it
}

// rename is a change of the directory; from or to may be nothing.
type rename struct {
	from, to string
	f        *file
}

// NewDisk returns an empty one.
func NewDisk() *Disk {
	return &Disk{names: make(map[string]*file), now: make(map[string]*file)}
}

// Load returns a disk that holds the files of a directory.
func Load(dir string) (*Disk, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	d := NewDisk()
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		f := &file{content: content{b, int64(len(b))}, size: int64(len(b))}
		d.names[e.Name()], d.now[e.Name()] = f, f
	}
	return d, nil
}

// Apply takes in an event. One that the disk does not understand is an error: the
// images would not be true any more.
func (d *Disk) Apply(e Event) error {
	f := d.now[e.Name]
	if f == nil && e.Op != Create && e.Op != SyncDir && e.Op != Report && e.Op != Heard {
		return fmt.Errorf("%v %q, which does not exist", e.Op, e.Name)
	}
	switch e.Op {
	case Create:
		if f != nil {
			break // O_CREAT found it
		}
		d.change(rename{to: e.Name, f: &file{}})
	case Write:
		if len(e.Data) == 0 {
			break
		}
		f.size = max(f.size, e.At+int64(len(e.Data)))
		f.steps = append(f.steps, step{e.At, e.Data, f.size})
	case Truncate:
		f.size = e.At
		f.steps = append(f.steps, step{size: e.At})
	case Sync:
		for _, s := range f.steps {
			f.content.write(s, func(int64) bool { return true })
			f.content.resize(s.size)
		}
		f.steps = nil
	case Rename:
		d.change(rename{e.Name, e.To, f})
	case Link:
		d.change(rename{to: e.To, f: f})
	case Remove:
		d.change(rename{from: e.Name, f: f})
	case SyncDir:
		d.names, d.renames = maps.Clone(d.now), nil
	}
	return nil
}

func (d *Disk) change(r rename) {
	d.renames = append(d.renames, r)
	r.apply(d.now)
}

func (r rename) apply(names map[string]*file) {
	if r.from != "" {
		delete(names, r.from)
	}
	if r.to != "" {
		names[r.to] = r.f
	}
}

// Pending is how many changes are not certain to be on the disk.
func (d *Disk) Pending() int {
	n := len(d.renames)
	for _, f := range d.now {
		n += len(f.steps)
	}
	return n
}

// Fate is what becomes of the changes that are not certain.
type Fate int

const (
	Lost      Fate = iota // none is there
	Kept                  // all are
	Scattered             // chance decides about each sector of each
)

func (f Fate) String() string { return [...]string{"lost", "kept", "scattered"}[f] }

// Image writes what the disk may hold into a new directory. The directory's own
// changes come in their order, up to one of them; a file's do not.
func (d *Disk) Image(dir string, fate Fate, r *rand.Rand) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	names, n := maps.Clone(d.names), 0
	switch fate {
	case Kept:
		n = len(d.renames)
	case Scattered:
		n = r.IntN(len(d.renames) + 1)
	}
	for _, c := range d.renames[:n] {
		c.apply(names)
	}
	for name, f := range names {
		c := f.image(fate, r)
		if err := c.save(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) image(fate Fate, r *rand.Rand) content {
	if fate == Lost || len(f.steps) == 0 {
		return f.content
	}
	c := content{append([]byte(nil), f.data...), f.end}
	if fate == Kept {
		for _, s := range f.steps {
			c.write(s, func(int64) bool { return true })
			c.resize(s.size)
		}
		return c
	}
	size := f.end
	if n := r.IntN(len(f.steps) + 1); n > 0 {
		size = f.steps[n-1].size
	}
	whole := []float64{0, 0.1, 0.5, 0.9, 1}[r.IntN(5)] // how many writes are there as a whole
	torn := []float64{0, 0, 0.3}[r.IntN(3)]            // how many of the others in part
	for _, i := range r.Perm(len(f.steps)) {
		switch p := r.Float64(); {
		case p < whole:
			c.write(f.steps[i], func(int64) bool { return true })
		case r.Float64() < torn:
			c.write(f.steps[i], func(int64) bool { return r.IntN(2) == 0 })
		}
	}
	c.resize(size)
	return c
}

// write puts those sectors of a step into the content that chosen says.
func (c *content) write(s step, chosen func(at int64) bool) {
	for at, b := s.at, s.data; len(b) > 0; {
		n := min(int64(len(b)), sector-at%sector)
		if chosen(at) {
			for int64(len(c.data)) < at+n {
				c.data = append(c.data, make([]byte, at+n-int64(len(c.data)))...)
			}
			copy(c.data[at:], b[:n])
			c.end = max(c.end, at+n)
		}
		at, b = at+n, b[n:]
	}
}

func (c *content) resize(size int64) {
	c.end = size
	if int64(len(c.data)) > size {
		c.data = c.data[:size]
	}
}

func (c *content) save(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(c.data); err != nil {
		return err
	}
	return f.Truncate(c.end)
}
