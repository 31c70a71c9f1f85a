package buffer_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"edgegateway/buffer"
)

// schema1 unpacks the file that make_schema1_test.go made.
func schema1(t testing.TB) (path string) {
	t.Helper()
	f, err := os.Open("testdata/schema1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".state", []byte("open\n"), 0o600); err != nil { // as that version left it
		t.Fatal(err)
	}
	return path
}

// inSchema1 is what it holds, as listed says it.
func inSchema1() (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	add("attached: 6 messages, 60 bytes")
	for i := range 6 {
		add("attached: attached %d+", i) // the first 1000 may have been sent
	}
	add("empty: 0 messages, 0 bytes")
	add("lanes: 7 messages, 98 bytes")
	for _, s := range []string{"lane 9 entry 2+*", "lane 3 entry 0+", "lane 3 entry 1", "lane 3 entry 2", "lane 0 entry 0", "lane 0 entry 1", "lane 0 entry 2"} {
		add("lanes: %s", s)
	}
	add("lanes: rejected 6 lane 9 entry 1: too large")
	add("waiting: 41 messages, %d bytes", 10*9+30*10+5+15000)
	for i := range 40 {
		add("waiting: waiting %d", i)
	}
	add("waiting: large%s", strings.Repeat(" page", 3000))
	for i := range 30 {
		switch i {
		case 1:
			add("key 1 = newer")
		case 2:
		default:
			add("key %d = value %d", i, i)
		}
	}
	add("empty = ")
	add("large = %s", strings.Repeat("value", 5000))
	add("%s = long key", strings.Repeat("k", 40_000))
	slices.Sort(all)
	return all
}

// listed says everything that a store of schema1 holds, sorted, but for times,
// which it checks.
func listed(t testing.TB, s *buffer.Store) (all []string) {
	t.Helper()
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	var made time.Time
	err := s.Table("table").Each(func(k, v []byte) (err error) {
		if string(k) == "made" {
			made, err = time.Parse(time.RFC3339, string(v))
			return err
		}
		add("%s = %s", k, v)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range s.Queues() {
		q := queue(t, s, name, buffer.Limits{})
		name = strings.TrimPrefix(name, "client/")
		st := q.Stats()
		add("%s: %d messages, %d bytes", name, st.Messages, st.Bytes)
		err := q.Each(func(e buffer.Entry) bool {
			text := string(e.Data)
			if e.Again {
				text += "+"
			}
			if e.Received {
				text += "*"
			}
			add("%s: %s", name, text)
			if e.At.Sub(made).Abs() > time.Minute || e.Deadline != 0 {
				t.Fatalf("%s is of %v, with the deadline %v, but was made at %v", text, e.At, e.Deadline, made)
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		rejected, err := q.Rejected()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rejected {
			add("%s: rejected %d %s: %s", name, r.Seq, r.Data, r.Reason)
			if r.RejectedAt.Sub(made).Abs() > time.Minute || !r.At.Equal(r.RejectedAt) {
				t.Errorf("rejected at %v, of %v", r.RejectedAt, r.At)
			}
		}
	}
	slices.Sort(all)
	return all
}

func wantListed(t testing.TB, s *buffer.Store, want []string) {
	t.Helper()
	got := listed(t, s)
	for _, text := range got {
		if !slices.Contains(want, text) {
			t.Errorf("has %.80s", text)
		}
	}
	for _, text := range want {
		if !slices.Contains(got, text) {
			t.Errorf("misses %.80s", text)
		}
	}
}

func schemaOf(t testing.TB, path string) (n uint64) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		n = binary.BigEndian.Uint64(tx.Bucket([]byte("meta")).Get([]byte("schema")))
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAFileOfSchema1ComesOutWhole(t *testing.T) {
	path := schema1(t)
	if got := schemaOf(t, path); got != 1 {
		t.Fatalf("the file has schema %d", got)
	}
	checks, work := 0, ""
	s := open(t, path, fast(),
		buffer.WithChecker(func(p string) error { checks++; return buffer.Check(p) }),
		buffer.WithLongWork(func() func() { work += "begins "; return func() { work += "ends" } }))
	if checks != 1 || work != "begins ends" {
		t.Errorf("%d checks; long work %s", checks, work)
	}
	wantListed(t, s, inSchema1())
	if st := s.Stats(); st.Damaged != 0 || st.SetAside != "" {
		t.Errorf("%+v", st)
	}
	// What was reserved is not given again.
	do(t, s, func(c *buffer.Change) {
		for _, name := range []string{"client/lanes", "client/attached", "client/waiting", "client/empty"} {
			if seq := add(t, c, queue(t, s, name, buffer.Limits{}), early("new")); seq < 1<<20 {
				t.Errorf("the next number of %s is %d, which may have been seen", name, seq)
			}
		}
	})
	q := attached(t, s, "client/lanes")
	wantDrain(t, q, "lane 9 entry 2+*", "lane 3 entry 0+", "lane 3 entry 1", "lane 3 entry 2",
		"lane 0 entry 0", "lane 0 entry 1", "lane 0 entry 2", "new")
	mustClose(t, s)
	if err := buffer.Check(path); err != nil {
		t.Error(err)
	}
	if got := schemaOf(t, path); got != 2 {
		t.Errorf("the file has schema %d now", got)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) != 1 {
		t.Errorf("beside it lie %q", left)
	}
	open(t, path, fast(), buffer.WithSteps(func(step string) error { t.Errorf("again: %s", step); return nil }))
}

// TestAFileOfSchema1IsCheckedEvenAfterACleanStop, which its marker tells as it was
// told then: the file will be read from end to end.
func TestAFileOfSchema1IsCheckedEvenAfterACleanStop(t *testing.T) {
	path := schema1(t)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	var txid int
	db.View(func(tx *bbolt.Tx) error { txid = tx.ID(); return nil })
	db.Close()
	if err := os.WriteFile(path+".state", fmt.Appendf(nil, "clean %d %d end\n", info.Size(), txid), 0o600); err != nil {
		t.Fatal(err)
	}
	checks := 0
	s := open(t, path, fast(), buffer.WithChecker(func(p string) error { checks++; return buffer.Check(p) }))
	if checks != 1 {
		t.Errorf("%d checks", checks)
	}
	wantListed(t, s, inSchema1())
}

func TestADamagedFileOfSchema1IsSetAside(t *testing.T) {
	path := schema1(t)
	if err := os.Truncate(path, 5*4096); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, fast())
	if s.Stats().SetAside == "" {
		t.Error("it was not set aside")
	}
	do(t, s, func(c *buffer.Change) { c.Put(s.Table("t"), []byte("k"), nil, buffer.Sync) })
}

// TestDamageIsNotSignedAnew: a wrong checksum must not become a right one.
func TestDamageIsNotSignedAnew(t *testing.T) {
	path := schema1(t)
	edit(t, path, func(tx *bbolt.Tx) error {
		flip := func(bucket, key string) {
			b := tx.Bucket([]byte(bucket))
			v := bytes.Clone(b.Get([]byte(key)))
			if len(v) == 0 {
				t.Fatalf("nothing at %q in %q", key, bucket)
			}
			v[len(v)-1] ^= 1
			if err := b.Put([]byte(key), v); err != nil {
				t.Fatal(err)
			}
		}
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			switch {
			case strings.Contains(string(name), "waiting"):
				flip(string(name), "\x00\x00\x00\x00\x00\x00\x00\x00\x05")
			case strings.Contains(string(name), "lanes"):
				k, _ := b.Cursor().Seek([]byte{0x60})
				flip(string(name), string(k))
			case strings.Contains(string(name), "attached"):
				flip(string(name), "\xff") // its state
			case string(name) == "t/table":
				flip(string(name), "kkey 7")
			}
			return nil
		})
	})
	s := open(t, path, fast())
	want := slices.DeleteFunc(inSchema1(), func(text string) bool {
		return text == "waiting: waiting 4" || text == "key 7 = value 7" || strings.Contains(text, "rejected")
	})
	want[slices.Index(want, fmt.Sprintf("waiting: 41 messages, %d bytes", 15395))] = fmt.Sprintf("waiting: 40 messages, %d bytes", 15395-9)
	wantListed(t, s, want)
	if got := s.Stats().Damaged; got != 4 {
		t.Errorf("%d damaged records were counted, want 4", got)
	}
	mustClose(t, s)
	s = open(t, path, fast())
	wantListed(t, s, want)
	if got := s.Stats().Damaged; got != 0 {
		t.Errorf("%d damaged records are left", got)
	}
}

// TestAMigrationThatIsCutShortLeavesOneOfTheTwoFilesWhole copies what a power cut at
// every step would leave behind, and opens that.
func TestAMigrationThatIsCutShortLeavesOneOfTheTwoFilesWhole(t *testing.T) {
	path := schema1(t)
	made := time.Date(2026, 11, 20, 9, 58, 35, 0, time.UTC)
	edit(t, path, func(tx *bbolt.Tx) error { // such that it takes several batches
		return fillSchema1(tx, "client/zz", made, 0, 20_000, 200)
	})
	want := listedOf(t, path)
	if len(want) < 20_000 {
		t.Fatalf("%d things", len(want))
	}
	var cuts []string
	steps := make(map[string]int)
	s := open(t, path, fast(), buffer.WithSteps(func(step string) error {
		steps[step]++
		dir := t.TempDir()
		for _, suffix := range []string{"", ".state", ".fresh"} {
			if b, err := os.ReadFile(path + suffix); err == nil {
				os.WriteFile(filepath.Join(dir, "store.db"+suffix), b, 0o600)
			}
		}
		cuts = append(cuts, filepath.Join(dir, "store.db"))
		return nil
	}))
	mustClose(t, s)
	if steps["copying"] != 1 || steps["batch"] < 4 || steps["copied"] != 1 || steps["renamed"] != 1 {
		t.Fatalf("%v", steps)
	}
	for i, cut := range cuts {
		if got := schemaOf(t, cut); got != 1 && i < len(cuts)-1 || got != 2 && i == len(cuts)-1 {
			t.Errorf("cut %d of %d: schema %d", i, len(cuts), got)
		}
		s := open(t, cut, fast())
		wantSame(t, fmt.Sprintf("cut %d of %d", i, len(cuts)), listed(t, s), want)
		if st := s.Stats(); st.Damaged != 0 || st.SetAside != "" {
			t.Errorf("cut %d of %d: %+v", i, len(cuts), st)
		}
		mustClose(t, s)
	}

	// One that fails leaves the file as it was, and can be tried again.
	path = schema1(t)
	before, _ := os.ReadFile(path)
	for _, at := range []string{"copying", "batch", "copied"} {
		full := errors.New("no room")
		_, err := buffer.Open(path, fast(), quiet(t), buffer.WithSteps(func(step string) error {
			if step == at {
				return full
			}
			return nil
		}))
		if !errors.Is(err, full) || !strings.Contains(err.Error(), path) {
			t.Errorf("failed at %s: %v", at, err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("failed at %s: the file was changed", at)
		}
	}
	wantListed(t, open(t, path, fast()), inSchema1())
}

// listedOf is listed for a copy of the file at path.
func listedOf(t testing.TB, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(copied, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied+".state", []byte("open\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, copied, fast())
	defer mustClose(t, s)
	return listed(t, s)
}

func wantSame(t testing.TB, where string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d things came out, and not the %d that were there", where, len(got), len(want))
	}
}

// fillSchema1 writes records as schema 1 has them, from one number to before another,
// and the state that counts all of them.
func fillSchema1(tx *bbolt.Tx, queue string, at time.Time, from, to, size int) error {
	b, err := tx.CreateBucketIfNotExists(append([]byte("q/"+queue), 0, 0, 0, 0, 0, 0, 0, 99))
	if err != nil {
		return err
	}
	b.FillPercent = 1
	put := func(k, v []byte) error {
		binary.BigEndian.PutUint32(v, crc32.Checksum(append(bytes.Clone(k), v[4:]...), crc32.MakeTable(crc32.Castagnoli)))
		return b.Put(k, v)
	}
	ms := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli()))[2:]
	for i := from; i < to; i++ {
		v := append(make([]byte, 5, 11+size), ms...)
		if err := put(binary.BigEndian.AppendUint64([]byte{0}, uint64(i+1)), fmt.Appendf(v, "%0*d", size, i)); err != nil {
			return err
		}
	}
	st := []byte{0, 0, 0, 0, 1, 0} // its format and no flags
	for _, n := range []int{to + 1, to + 1<<20, 0, to, to * size, 0} {
		st = binary.AppendUvarint(st, uint64(n)) // next, reserved; lane, entries, bytes, spans
	}
	return put([]byte{0xff}, st)
}

// TestTheMemoryOfAMigrationDoesNotGrowWithTheFile: the heap is looked at behind
// every batch, when all of it is still in use.
func TestTheMemoryOfAMigrationDoesNotGrowWithTheFile(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 200_000 // 45 MB
	}
	path := filepath.Join(t.TempDir(), "store.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, NoGrowSync: true, NoFreelistSync: true, PageSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i += 20_000 {
		if err := db.Update(func(tx *bbolt.Tx) error { return fillSchema1(tx, "q", time.Now(), i, i+20_000, 180) }); err != nil {
			t.Fatal(err)
		}
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("meta"))
		if err != nil {
			return err
		}
		return b.Put([]byte("schema"), []byte{0, 0, 0, 0, 0, 0, 0, 1})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	cfg := fast()
	cfg.MaxSize = 512 << 20
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most := uint64(0)
	start := time.Now()
	s := open(t, path, cfg, buffer.WithSteps(func(string) error {
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapInuse)
		return nil
	}))
	took := time.Since(start)
	t.Logf("%d records: %d MB more heap at most, %v", n, (int64(most)-int64(before.HeapInuse))>>20, took)
	if most > before.HeapInuse+24<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before.HeapInuse, most)
	}
	q := attached(t, s, "q")
	if got := q.Stats().Messages; got != n {
		t.Errorf("%d messages, want %d", got, n)
	}
	for i := range 5 {
		e := next(t, s, q)
		if want := fmt.Sprintf("%0180d", i); string(e.Data) != want {
			t.Fatalf("entry %d is %s", i, e.Data)
		}
	}
	if err := s.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
}
