package buffer_test

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"edgegateway/buffer"
)

// edit changes the file of a store that is closed.
func edit(t testing.TB, path string, fn func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestTimeDeadlineAndDataOfAnEntryComeBack(t *testing.T) {
	day := time.Date(2026, 3, 4, 5, 6, 7, 89*int(time.Millisecond), time.UTC)
	for _, c := range []struct {
		name       string
		record     buffer.Record
		at         time.Time
		deadline   time.Duration
		stillFresh bool // at is about now
	}{
		{name: "neither", record: buffer.Record{}, stillFresh: true},
		{name: "time", record: buffer.Record{At: day.Add(999 * time.Microsecond)}, at: day},
		{name: "time of a machine without a clock", record: buffer.Record{At: time.UnixMilli(1)}, at: time.UnixMilli(1)},
		{name: "time before all times", record: buffer.Record{At: time.UnixMilli(-5)}, at: time.UnixMilli(0)},
		{name: "time behind all times", record: buffer.Record{At: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)}, at: time.UnixMilli(1<<48 - 1)},
		{name: "deadline", record: buffer.Record{At: day, Deadline: 3*time.Hour + time.Nanosecond}, at: day, deadline: 3*time.Hour + time.Millisecond},
		{name: "the longest deadline", record: buffer.Record{At: day, Deadline: 1<<63 - 1}, at: day, deadline: (1<<63 - 1) / time.Millisecond * time.Millisecond},
		{name: "key", record: buffer.Record{At: day, Key: 1}, at: day},
		{name: "all", record: buffer.Record{At: day, Deadline: time.Hour, Key: 1<<64 - 1}, at: day, deadline: time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			s := open(t, path, fast())
			q := queue(t, s, "q", buffer.Limits{})
			v := buffer.NewVolatile(buffer.Limits{}, nil)
			r := c.record
			r.Data, r.Urgency, r.Early = []byte("some data"), buffer.Sync, true
			want := func(where string, e buffer.Entry) {
				t.Helper()
				if c.stillFresh && time.Since(e.At).Abs() > time.Minute || !c.stillFresh && !e.At.Equal(c.at) {
					t.Errorf("%s: time %v, want %v", where, e.At, c.at)
				}
				if e.Deadline != c.deadline || string(e.Data) != "some data" {
					t.Errorf("%s: deadline %v and data %q, want %v", where, e.Deadline, e.Data, c.deadline)
				}
			}
			seen := func(where string, q *buffer.Queue) {
				t.Helper()
				n := 0
				if err := q.Each(func(e buffer.Entry) bool { want(where, e); n++; return true }); err != nil || n != 1 {
					t.Errorf("%s: Each saw %d entries: %v", where, n, err)
				}
			}
			do(t, s, func(ch *buffer.Change) { add(t, ch, q, r); add(t, ch, v, r) })
			want("volatile", next(t, s, v))
			seen("not attached", q)
			do(t, s, func(ch *buffer.Change) { ch.Attach(q, buffer.Sync) })
			seen("attached", q)
			want("Next", next(t, s, q))
			do(t, s, func(ch *buffer.Change) { ch.Detach(q, buffer.Sync) })
			mustClose(t, s)

			s = open(t, path, fast())
			q = queue(t, s, "q", buffer.Limits{})
			seen("opened again", q)
			if st := q.Stats(); st.Bytes != int64(len(r.Data)) || !c.stillFresh && !st.Oldest.Equal(c.at) {
				t.Errorf("%d bytes, the oldest of %v", st.Bytes, st.Oldest)
			}
			q = attached(t, s, "q")
			e := next(t, s, q)
			want("Next after a restart", e)
			if got := q.KeyOf(e.Seq); got != c.record.Key {
				t.Errorf("key %x, want %x", got, c.record.Key)
			}
			q.Ack(e.Seq)
			mustClose(t, s)
			s = open(t, path, fast())
			if st := queue(t, s, "q", buffer.Limits{}).Stats(); st.Messages != 0 || st.Bytes != 0 {
				t.Errorf("%d messages with %d bytes are left", st.Messages, st.Bytes)
			}
		})
	}
}

// TestARecordOnDiskIsWhatItsDescriptionSays builds a value from the description
// and compares it with the bytes in the file.
func TestARecordOnDiskIsWhatItsDescriptionSays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := queue(t, s, "q", buffer.Limits{})
	do(t, s, func(c *buffer.Change) {
		add(t, c, q, buffer.Record{Data: []byte("data"), Lane: 3, At: time.UnixMilli(0x0102030405), Deadline: 0x0a0b * time.Millisecond,
			Key: 0x1112131415161718, Urgency: buffer.Sync})
		c.Put(s.Table("table"), []byte("key"), []byte("value"), buffer.Sync)
	})
	mustClose(t, s)
	sum := func(bucket, key, rest string) string {
		// To begin with n is to have n XORed onto the first four bytes.
		all := []byte(bucket + key + rest)
		n := binary.LittleEndian.AppendUint32(nil, uint32(len(bucket)))
		subtle.XORBytes(all, all, n)
		return fmt.Sprintf("%08x", crc32.Checksum(all, crc32.MakeTable(crc32.Castagnoli)))
	}
	edit(t, path, func(tx *bbolt.Tx) error {
		for _, c := range []struct{ bucket, key, rest string }{
			{"q/q\x00\x00\x00\x00\x00\x00\x00\x01", "\x03\x00\x00\x00\x00\x00\x00\x00\x01",
				"03 000102030405 000000000a0b 1112131415161718 64617461"},
			{"t/table", "kkey", "76616c7565"},
		} {
			rest, err := hex.DecodeString(strings.ReplaceAll(c.rest, " ", ""))
			if err != nil {
				return err
			}
			got := hex.EncodeToString(tx.Bucket([]byte(c.bucket)).Get([]byte(c.key)))
			if want := sum(c.bucket, c.key, string(rest)) + hex.EncodeToString(rest); got != want {
				t.Errorf("the record below %q is %s, want %s", c.key, got, want)
			}
		}
		return nil
	})
}

// TestWhatLiesInAnotherPlaceIsDamaged: a checksum that is right for one place is
// wrong for every other.
func TestWhatLiesInAnotherPlaceIsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	a, b := queue(t, s, "a", buffer.Limits{}), queue(t, s, "b", buffer.Limits{})
	do(t, s, func(c *buffer.Change) {
		add(t, c, a, early("of a"))
		add(t, c, b, early("of b"))
		c.Put(s.Table("a"), []byte("kk"), []byte("of a"), buffer.Sync)
		c.Put(s.Table("ak"), []byte("k"), []byte("of ak"), buffer.Sync) // its keys together say the same
	})
	mustClose(t, s)
	edit(t, path, func(tx *bbolt.Tx) error {
		swap := func(a, b, key, otherKey string) {
			x, y := tx.Bucket([]byte(a)), tx.Bucket([]byte(b))
			v, w := bytes.Clone(x.Get([]byte(key))), bytes.Clone(y.Get([]byte(otherKey)))
			if v == nil || w == nil {
				t.Fatalf("%q or %q is not there", key, otherKey)
			}
			if err := errors.Join(x.Put([]byte(key), w), y.Put([]byte(otherKey), v)); err != nil {
				t.Fatal(err)
			}
		}
		swap("q/a\x00\x00\x00\x00\x00\x00\x00\x01", "q/b\x00\x00\x00\x00\x00\x00\x00\x02", "\x00\x00\x00\x00\x00\x00\x00\x00\x01", "\x00\x00\x00\x00\x00\x00\x00\x00\x01")
		swap("t/a", "t/ak", "kkk", "kk")
		return nil
	})
	s = open(t, path, fast())
	for _, name := range []string{"a", "b"} {
		wantDrain(t, attached(t, s, name))
	}
	for table, key := range map[string]string{"a": "kk", "ak": "k"} {
		if v, ok, err := s.Table(table).Get([]byte(key)); ok || err != nil {
			t.Errorf("table %s has %q: %v", table, v, err)
		}
	}
	if got := s.Stats().Damaged; got != 4 {
		t.Errorf("%d damaged, want 4", got)
	}
}

func TestAFlagThatNobodyKnowsIsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := queue(t, s, "q", buffer.Limits{})
	do(t, s, func(c *buffer.Change) { add(t, c, q, early("one")); add(t, c, q, early("two")) })
	mustClose(t, s)
	edit(t, path, func(tx *bbolt.Tx) error {
		bucket := []byte("q/q\x00\x00\x00\x00\x00\x00\x00\x01")
		key := []byte{0, 0, 0, 0, 0, 0, 0, 0, 1}
		v := bytes.Clone(tx.Bucket(bucket).Get(key))
		v[4] |= 0x80
		binary.BigEndian.PutUint32(v, buffer.Checksum(bucket, key, v[4:]))
		return tx.Bucket(bucket).Put(key, v)
	})
	s = open(t, path, fast())
	q = attached(t, s, "q")
	wantDrain(t, q, "two")
	if got := q.Stats().Damaged; got != 1 {
		t.Errorf("%d damaged, want 1", got)
	}
}
