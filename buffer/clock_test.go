package buffer_test

import (
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/buffer"
)

const years50 = 50 * 365 * 24 * time.Hour

// TestTheClockCountsTheTimeThatTheStoreIsOpen over runs that end in order, whatever
// the wall clock says: every bubble begins in 2000, so that a run behind one in
// 2050 sees it set back.
func TestTheClockCountsTheTimeThatTheStoreIsOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	var last time.Duration
	open := func(t *testing.T) *buffer.Store {
		t.Helper()
		s := open(t, path, timed())
		if now := s.Clock(); now < last || now > last+10*time.Millisecond {
			t.Errorf("it goes on at %v, and was at %v", now, last)
		}
		return s
	}
	close := func(t *testing.T, s *buffer.Store) {
		t.Helper()
		mustClose(t, s)
		last = s.Clock()
	}
	for _, wall := range []time.Duration{0, years50, 0} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(wall)
			s := open(t)
			for range 3 {
				before := s.Clock()
				time.Sleep(time.Hour)
				if got := s.Clock() - before; got != time.Hour {
					t.Errorf("it counts %v for an hour", got)
				}
			}
			close(t, s)
			time.Sleep(1000 * time.Hour) // without power
			close(t, open(t))
		})
	}
	if last < 9*time.Hour || last > 9*time.Hour+100*time.Millisecond {
		t.Errorf("it is at %v after 9 hours", last)
	}
}

// TestAfterACrashTheClockGoesOnFromTheLastNote, never from an older one, and never
// from a time that had not come yet.
func TestAfterACrashTheClockGoesOnFromTheLastNote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	synctest.Test(t, func(t *testing.T) {
		r := seeded(t)
		for range 20 {
			s := open(t, path, timed())
			q := queue(t, s, "q", buffer.Limits{})
			noted := s.Clock()
			do(t, s, func(c *buffer.Change) { c.Attach(q, buffer.Sync) })
			for range r.IntN(4) {
				time.Sleep(time.Duration(r.Int64N(int64(time.Hour))))
				noted = s.Clock()
				switch r.IntN(3) {
				case 0:
					do(t, s, func(c *buffer.Change) { add(t, c, q, early("x")) })
				case 1:
					do(t, s, func(c *buffer.Change) { c.Detach(q, buffer.Sync) })
				case 2:
					s.AdvanceClock(s.Clock() - time.Minute) // changes nothing
					do(t, s, func(c *buffer.Change) { c.Attach(q, buffer.Sync) })
				}
			}
			time.Sleep(time.Duration(r.Int64N(int64(10 * time.Hour))))
			path = crash(t, path)
			was := s.Clock()
			mustClose(t, s)
			time.Sleep(100 * time.Hour)
			s = open(t, path, timed())
			if now := s.Clock(); now < noted.Truncate(time.Millisecond) || now > was || now > noted+100*time.Millisecond {
				t.Fatalf("it goes on at %v; the last note was at %v, the crash at %v", now, noted, was)
			}
			mustClose(t, s)
		}
	})
}

func TestTheClockIsSetForwardOnly(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 1000 {
				before := s.Clock()
				s.AdvanceClock(time.Duration(n+i) * time.Minute)
				if now := s.Clock(); now < before || now < time.Duration(n+i)*time.Minute {
					t.Errorf("it went from %v to %v", before, now)
				}
			}
		})
	}
	all.Wait()
	if now := s.Clock(); now > 1007*time.Minute+time.Minute {
		t.Errorf("it is at %v", now)
	}
}
