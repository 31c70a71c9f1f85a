package buffer_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgegateway/buffer"
)

var longFlag = flag.Bool("long", false, "damage every page in every way, not some of them")

const page = 4096

var tableNames = []string{"first", "second"}

// victim is a store file with everything in it, as a killed process leaves it, and
// what is known of it.
type victim struct {
	content, marker []byte
	before          []byte // the file as it was some commits earlier
	used            int    // bytes; behind them nothing was ever written

	ever  map[string]bool   // every entry that ever was, by queue, lane and text
	alive map[string]bool   // those that are not acknowledged
	order map[string]int    // their places
	pairs map[string]string // table and key -> value
	old   map[string]bool   // table, key and value that were once
	marks int
}

func id(queue string, lane uint8, text string) string { return fmt.Sprint(queue, " ", lane, " ", text) }

// text is different for every number, and its length as well.
func text(n int) string {
	r := rand.New(rand.NewPCG(7, uint64(n)))
	size := 20 + r.IntN(200)
	if n%500 == 499 {
		size = 6000 + r.IntN(9000) // pages with more behind them
	}
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return fmt.Sprintf("%06d ", n) + string(b)
}

// newVictim fills two queues with n entries, on several lanes, of which the first
// third is acknowledged, and two tables.
func newVictim(t testing.TB, n int) *victim {
	v := &victim{
		ever: make(map[string]bool), alive: make(map[string]bool), order: make(map[string]int),
		pairs: make(map[string]string), old: make(map[string]bool),
	}
	path := filepath.Join(inMemory(t), "store.db")
	s := open(t, path, fast())
	queues := []*buffer.Queue{attached(t, s, "north"), attached(t, s, "south")}
	tables := []*buffer.Table{s.Table(tableNames[0]), s.Table(tableNames[1])}
	lanes := []uint8{0, 0, 0, 4, 9}
	for i := 0; i < n; {
		do(t, s, func(c *buffer.Change) {
			for range 1 + i%40 {
				q, lane := queues[i%2], lanes[i%len(lanes)]
				r := early(text(i))
				r.Lane = lane
				add(t, c, q, r)
				key := id(q.Name(), lane, text(i))
				v.ever[key], v.alive[key], v.order[key] = true, true, i
				i++
			}
			table, key := tables[i%2], fmt.Sprintf("key %d", i%311)
			value := text(i + 1_000_000)
			c.Put(table, []byte(key), []byte(value), buffer.Sync)
			name := tableNames[i%2] + " " + key
			v.pairs[name], v.old[name+" "+value] = value, true
			if i%7 == 0 {
				key := fmt.Sprintf("key %d", (i+100)%311)
				c.Delete(table, []byte(key), buffer.Sync)
				delete(v.pairs, tableNames[i%2]+" "+key)
			}
		})
		if i > n/2 && len(v.before) == 0 {
			v.before, _ = os.ReadFile(path)
		}
	}
	// The receivers take a third, and say of some others that they have them. What is
	// removed stays in the file, on pages that nobody needs any more.
	acked := 0
	for acked < n/3 {
		for _, q := range queues {
			e, ok, err := q.Next()
			switch {
			case err != nil:
				t.Fatal(err)
			case !ok:
			case e.Seq%40 == 0:
				v.marks++
				q.Received(e.Seq, nil)
			default:
				acked++
				q.Ack(e.Seq)
				delete(v.alive, id(q.Name(), e.Lane, string(e.Data)))
			}
		}
		if acked%100 == 0 {
			do(t, s, func(c *buffer.Change) { c.Delete(tables[0], []byte("none"), buffer.Sync) })
		}
	}
	do(t, s, func(*buffer.Change) {})
	copied := crash(t, path)
	mustClose(t, s)
	var err error
	if v.content, err = os.ReadFile(copied); err != nil {
		t.Fatal(err)
	}
	if v.marker, err = os.ReadFile(copied + ".state"); err != nil {
		t.Fatal(err)
	}
	v.used = len(v.content)
	for v.used > page && bytes.Equal(v.content[v.used-page:v.used], make([]byte, page)) {
		v.used -= page // the file grows in large steps
	}
	return v
}

// inMemory is a directory for many small files of which none has to survive.
func inMemory(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "store-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// outcome is what came of a damaged file.
type outcome struct {
	kept, lost int // entries that are not acknowledged
	returned   int // entries that are
	pairs      int
	pairsLost  int
	pairsOld   int // pairs of an earlier time
	damage     *buffer.Damage
	skipped    int64 // records that were found damaged when they were read
}

// open opens the file with the damage that harm does, and looks at all of it. It
// fails the test if anything comes out that never went in.
func (v *victim) open(t *testing.T, dir string, harm func(b []byte) []byte) (o outcome) {
	t.Helper()
	path := filepath.Join(dir, "store.db")
	if err := os.WriteFile(path, harm(bytes.Clone(v.content)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".state", v.marker, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := buffer.Open(path, fast(), quiet(t))
	if err != nil {
		t.Fatalf("can not be opened: %v", err)
	}
	defer s.Close()
	for _, name := range s.Queues() {
		q, err := s.Queue(name, buffer.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		last := make(map[uint8]uint64)
		number := make(map[uint8]int)
		do(t, s, func(c *buffer.Change) { c.Attach(q, buffer.Sync) })
		for {
			e, ok, err := q.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				do(t, s, func(*buffer.Change) {}) // it may wait for a commit
				if e, ok, err = q.Next(); err != nil || !ok {
					break
				}
			}
			key := id(name, e.Lane, string(e.Data))
			switch {
			case v.alive[key]:
				o.kept++
			case v.ever[key]:
				o.returned++
			default:
				t.Fatalf("queue %s lane %d has %.20q, which was never appended to it", name, e.Lane, e.Data)
			}
			if e.Seq <= last[e.Lane] || v.order[key] < number[e.Lane] {
				t.Fatalf("queue %s lane %d has %.20q out of order", name, e.Lane, e.Data)
			}
			last[e.Lane], number[e.Lane] = e.Seq, v.order[key]
		}
		// Whatever comes now has a number that nobody ever had.
		do(t, s, func(c *buffer.Change) {
			if seq := add(t, c, q, early("new")); seq <= 2*uint64(len(v.ever)) {
				t.Fatalf("queue %s goes on with number %d", name, seq)
			}
		})
	}
	o.lost = len(v.alive) - o.kept
	for _, name := range tableNames {
		err := s.Table(name).Each(func(key, value []byte) error {
			k := name + " " + string(key)
			switch {
			case v.pairs[k] == string(value):
				o.pairs++
			case v.old[k+" "+string(value)]:
				o.pairsOld++
			default:
				return fmt.Errorf("table %s has %.20q at %s, which was never put", name, value, key)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	o.pairsLost = len(v.pairs) - o.pairs
	st := s.Stats()
	o.damage, o.skipped = st.Damage, st.Damaged
	return o
}

// class sums up the outcomes of one kind of damage.
type class struct {
	name                         string
	most                         int
	files, aside                 int
	worst, lost, returned        int
	kept, pairsLost, pairsReturn int
	worstReturned                int
	silent                       int // lost without a word
}

func (c *class) add(o outcome) {
	c.files++
	if o.damage != nil {
		c.aside++
	}
	c.kept += o.kept
	c.lost += o.lost
	c.returned += o.returned
	c.worst = max(c.worst, o.lost)
	c.worstReturned = max(c.worstReturned, o.returned)
	c.pairsLost += o.pairsLost
	c.pairsReturn += o.pairsOld
	if o.damage == nil && int64(o.lost+o.pairsLost) > o.skipped {
		c.silent++
	}
}

func (c *class) String() string {
	return fmt.Sprintf("%-27s %6d %9d %9d %6d %7d %9d %7d %10d %9d %7d", c.name, c.files, c.aside, c.kept, c.lost, c.worst,
		c.returned, c.worstReturned, c.pairsLost, c.pairsReturn, c.silent)
}

const classHead = "damage                       files set aside      kept   lost   worst  returned   worst pairs lost pairs old  silent"

func TestADamagedFileNeverStopsTheStartAndKeepsWhatCanBeRead(t *testing.T) {
	v := newVictim(t, 4000)
	r := seeded(t)
	whole := v.open(t, inMemory(t), func(b []byte) []byte { return b })
	if whole.lost+whole.returned+whole.pairsLost+whole.pairsOld > 0 || whole.damage != nil {
		t.Fatalf("without damage: %+v", whole)
	}
	pages := v.used / page
	live := livePages(v.content)
	t.Logf("%d entries alive of %d, %d pairs, %d marks; %d pages, of which %d are in use", len(v.alive), len(v.ever), len(v.pairs), v.marks, pages, len(live))

	step, flips := 1, 200
	if !*longFlag {
		step, flips = 1+pages/12, 15
	}
	dir := inMemory(t)
	var classes []*class
	try := func(c *class, name string, harm func(b []byte) []byte) (o outcome) {
		t.Run(c.name+" "+name, func(t *testing.T) {
			sub := filepath.Join(dir, "one")
			if err := os.Mkdir(sub, 0o700); err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(sub)
			o = v.open(t, sub, harm)
			c.add(o)
		})
		return o
	}
	// most is how many entries one damaged file of the class may cost.
	begin := func(name string, most int) *class {
		c := &class{name: name, most: most}
		classes = append(classes, c)
		return c
	}
	const inPage = 66 // entries, at the most
	all := len(v.alive)
	c := begin("cut at a page", all)
	for i := 0; i <= pages; i += step {
		try(c, fmt.Sprint(i), func(b []byte) []byte { return b[:i*page] })
	}
	byKind := make(map[string][3]*class)
	for kind, most := range map[string]int{"meta": 0, "root": 0, "branch": inPage / 2, "leaf": inPage, "free": 0} {
		byKind[kind] = [3]*class{begin(kind+" zeroed", most), begin(kind+" of random bytes", most), begin(kind+" from an earlier copy", most)}
	}
	for i := range pages {
		kind, used := live[uint64(i)]
		if !used {
			kind = "free"
		}
		if i < 2 {
			kind = "meta"
		}
		if !*longFlag && (kind == "leaf" || kind == "free") && i%step != 0 {
			continue
		}
		by := byKind[kind]
		try(by[0], fmt.Sprint(i), func(b []byte) []byte { clear(b[i*page : (i+1)*page]); return b })
		try(by[1], fmt.Sprint(i), func(b []byte) []byte {
			for j := i * page; j < (i+1)*page; j++ {
				b[j] = byte(r.Uint32())
			}
			return b
		})
		if i*page < len(v.before) {
			try(by[2], fmt.Sprint(i), func(b []byte) []byte { copy(b[i*page:(i+1)*page], v.before[i*page:]); return b })
		}
	}
	c = begin("two pages exchanged", 2*inPage)
	for i := 0; i < pages; i += step {
		j := r.IntN(pages)
		try(c, fmt.Sprint(i, " and ", j), func(b []byte) []byte {
			copy(b[i*page:(i+1)*page], v.content[j*page:])
			copy(b[j*page:(j+1)*page], v.content[i*page:])
			return b
		})
	}
	for many, most := range map[int]int{1: inPage, 8: 8 * inPage, 1000: all} {
		c = begin(fmt.Sprintf("%d bits flipped", many), most)
		for i := range flips {
			try(c, fmt.Sprint(i), func(b []byte) []byte {
				for range many {
					b[r.IntN(v.used)] ^= 1 << r.IntN(8)
				}
				return b
			})
		}
	}
	c = begin("a byte changed in a header", inPage)
	for i := range flips {
		try(c, fmt.Sprint(i), func(b []byte) []byte {
			b[r.IntN(pages)*page+r.IntN(16+5*16)] = byte(r.Uint32())
			return b
		})
	}
	var table strings.Builder
	slices.SortStableFunc(classes, func(a, b *class) int { return strings.Compare(a.name, b.name) })
	for _, c := range classes {
		if c.worst > c.most {
			t.Errorf("%s: one file lost %d entries, %d are allowed", c.name, c.worst, c.most)
		}
		if c.silent > 0 {
			t.Errorf("%s: %d files lost something without a word", c.name, c.silent)
		}
		if c.worstReturned > 10*1000 {
			t.Errorf("%s: one file gave back %d entries that were acknowledged", c.name, c.worstReturned)
		}
		if strings.HasPrefix(c.name, "free") && c.aside > 0 || strings.HasPrefix(c.name, "meta") && c.aside < c.files {
			t.Errorf("%s: %d of %d files were set aside", c.name, c.aside, c.files)
		}
		fmt.Fprintf(&table, "\n%s", c)
	}
	t.Logf("\n%s%s", classHead, table.String())
}

func kindOf(b []byte) string {
	switch binary.LittleEndian.Uint16(b[8:]) {
	case 1:
		return "branch"
	case 2:
		return "leaf"
	}
	return "other"
}

// livePages walks the newest tree and says of every page in it what it is.
func livePages(b []byte) map[uint64]string {
	le := binary.LittleEndian
	meta := b[16:]
	if le.Uint64(b[page+16+48:]) > le.Uint64(meta[48:]) {
		meta = b[page+16:]
	}
	live := make(map[uint64]string)
	var walk func(id uint64, kind string)
	walk = func(id uint64, kind string) {
		p := b[id*page:]
		for i := range uint64(le.Uint32(p[12:])) + 1 {
			live[id+i] = kind
		}
		n := int(le.Uint16(p[10:]))
		for i := range n {
			e := p[16+16*i:]
			if le.Uint16(p[8:]) == 1 {
				child := le.Uint64(e[8:])
				walk(child, kindOf(b[child*page:]))
			} else if le.Uint32(e)&1 != 0 {
				at := le.Uint32(e[4:]) + le.Uint32(e[8:])
				if root := le.Uint64(e[at:]); root != 0 {
					walk(root, kindOf(b[root*page:]))
				}
			}
		}
	}
	walk(le.Uint64(meta[16:]), "root")
	return live
}

// FuzzOpen writes bytes into a store file: each five of the input are an offset and
// what goes there; what is left over cuts the file.
func FuzzOpen(f *testing.F) {
	v := newVictim(f, 300)
	f.Add([]byte{0, 0, 0x10, 8, 0})
	f.Add([]byte{0, 0, 0x20, 10, 0xff, 0, 0, 0x30, 0, 1})
	f.Add([]byte{3})
	f.Fuzz(func(t *testing.T, patch []byte) {
		v.open(t, inMemory(t), func(b []byte) []byte {
			for ; len(patch) >= 5; patch = patch[5:] {
				b[int(binary.BigEndian.Uint32(patch))%v.used] = patch[4]
			}
			if len(patch) > 0 {
				b = b[:len(b)*int(patch[0])/256]
			}
			return b
		})
	})
}
