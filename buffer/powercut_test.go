package buffer_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgegateway/buffer"
	"edgegateway/buffer/powercut"
	"edgegateway/internal/need"
)

var (
	cutsFlag = flag.Int("cuts", 250, "at how many moments of each run the power is cut; 0: at every call")
	keepFlag = flag.String("keep", "", "where to leave the image that was found wrong")
)

// TestPowerCutLosesNothingThatWasReported records runs of a program on a store, and
// cuts the power at their calls. Whatever of what was not synced is on the disk
// then, the store opens, is not damaged, and has what was reported. Some of the
// images are opened by a program that is recorded as well, and the power is cut
// while it recovers.
func TestPowerCutLosesNothingThatWasReported(t *testing.T) {
	c := newCutter(t)
	dir := filepath.Join(t.TempDir(), "store")
	first := 1
	for i, end := range []string{"kill 60", "close 60", "fail 30", "kill 30", "close 0"} {
		c.play(c.record(dir, first, end), i == 0)
		first += 1000 // above all that was appended, reported or not
	}
	again := 4
	if *cutsFlag == 0 {
		again = 40
	}
	for len(c.recoveries) > again {
		i := c.r.IntN(len(c.recoveries))
		c.recoveries = append(c.recoveries[:i], c.recoveries[i+1:]...)
	}
	for i, rec := range c.recoveries {
		c.known = rec.known
		var err error
		if c.disk, err = powercut.Load(rec.dir); err != nil {
			t.Fatal(err)
		}
		c.later = true
		c.play(c.record(rec.dir, first, []string{"close 5", "kill 5"}[i%2]), false)
	}
	t.Logf("%d runs with %d calls, %d cuts, images opened: %d; with nothing of what was not synced %d, with all of it %d, with a part %d; %d runs on images",
		c.runs, c.calls, c.cuts, c.opened, c.images["lost"], c.images["kept"], c.images["scattered"], len(c.recoveries))
}

// killed kills the program whose events these are, behind calls that are chosen by
// chance and behind all that change the directory: what is not synced then is in the
// memory of the kernel, where the next run finds it, and not on the disk. The power is
// cut in the first commits of that run.
func (c *cutter) killed(before string, events []powercut.Event) {
	c.t.Helper()
	behind := make(map[int]bool)
	for i, e := range events {
		switch e.Op {
		case powercut.Create, powercut.Rename, powercut.Remove, powercut.Truncate:
			behind[i] = true
		}
	}
	for len(behind) < min(20, len(events)) {
		behind[c.r.IntN(len(events))] = true
	}
	for _, end := range slices.Sorted(maps.Keys(behind)) {
		var err error
		if c.disk, err = powercut.Load(before); err != nil {
			c.t.Fatal(err)
		}
		c.known = newKnown()
		c.take(events[:end+1])
		dir := filepath.Join(c.t.TempDir(), "store")
		if err := c.disk.Image(dir, powercut.Kept, c.r); err != nil {
			c.t.Fatal(err)
		}
		next := c.record(dir, 1001, "kill 5")
		if c.play(next[:min(40, len(next))], true); c.t.Failed() {
			c.t.Fatalf("the program was killed behind call %d, %v %s", end, events[end].Op, events[end].Name)
		}
	}
	c.log()
}

func TestPowerCutSoonAfterAKillLosesNothing(t *testing.T) {
	c := newCutter(t)
	c.killed(t.TempDir(), c.record(filepath.Join(t.TempDir(), "store"), 1, "close 60"))
}

// shm returns a directory in memory, where a sync costs nothing.
func shm(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "powercut")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

type cutter struct {
	t     *testing.T
	r     *rand.Rand
	fast  string // a directory in memory
	disk  *powercut.Disk
	known map[string]*crashed
	later bool
	told  map[string]bool         // what the child said beside that
	found func(path string) error // compares a store with what is known

	recoveries                []recovery
	runs, calls, cuts, opened int
	images                    map[string]int
}

func newCutter(t *testing.T) *cutter {
	need.Met(t, powercut.Available())
	c := &cutter{t: t, r: seeded(t), fast: shm(t), disk: powercut.NewDisk(), known: newKnown(), images: make(map[string]int), told: make(map[string]bool)}
	c.found = func(path string) error { return found(path, c.known) }
	return c
}

// recovery is an image with what has to be in it.
type recovery struct {
	dir   string
	known map[string]*crashed
}

func newKnown() map[string]*crashed {
	known := make(map[string]*crashed)
	for _, q := range crashQueues {
		known[q] = &crashed{make(map[string]bool), make(map[string]bool), make(map[string]bool), make(map[string]uint64), 0, 0}
	}
	return known
}

// record runs the child of the crash test on the store in dir.
func (c *cutter) record(dir string, first int, end string) []powercut.Event {
	c.t.Helper()
	trace := filepath.Join(c.t.TempDir(), "trace")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	cmd := powercut.Command(trace, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+filepath.Join(dir, "store.db"), fmt.Sprintf("%s_FIRST=%d", childEnv, first),
		fmt.Sprintf("%s_SEED=%d", childEnv, c.r.Uint64()), childEnv+"_END="+end)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	if !strings.HasPrefix(end, "kill") && err != nil || stderr.Len() > 0 {
		c.t.Fatalf("the child failed: %v %s", err, &stderr)
	}
	events, err := powercut.Read(trace, dir, func(descriptor string) bool { return strings.HasPrefix(descriptor, "1 ") })
	if err != nil {
		c.t.Fatal(err)
	}
	c.runs++
	c.calls += len(events)
	return events
}

// play cuts the power at calls that are chosen by chance, and at all of the first
// ones of a new store.
func (c *cutter) play(events []powercut.Event, isNew bool) {
	c.t.Helper()
	at := make(map[int]bool)
	for i := range events {
		if *cutsFlag == 0 || i < 40 && isNew || i >= len(events)-10 {
			at[i] = true
		}
	}
	most := len(at) + *cutsFlag
	if c.later {
		most = len(at) + *cutsFlag/4
	}
	for len(at) < min(most, len(events)) {
		at[c.r.IntN(len(events))] = true
	}
	for i, e := range events {
		c.take(events[i : i+1])
		if !at[i] {
			continue
		}
		c.cuts++
		fates := []powercut.Fate{powercut.Lost}
		if c.disk.Pending() > 0 {
			fates = []powercut.Fate{powercut.Lost, powercut.Kept, powercut.Scattered, powercut.Scattered}
		}
		for _, fate := range fates {
			if c.cut(i, e, fate); c.t.Failed() {
				return
			}
		}
	}
}

// take takes in events.
func (c *cutter) take(events []powercut.Event) {
	c.t.Helper()
	for _, e := range events {
		if e.Op != powercut.Report {
			if err := c.disk.Apply(e); err != nil {
				c.t.Fatal(err)
			}
			continue
		}
		for line := range strings.Lines(string(e.Data)) {
			if line == "open\n" || line == "restored\n" {
				c.told[line] = true
			} else {
				note(c.t, c.known, line)
			}
		}
	}
}

// cut opens one image.
func (c *cutter) cut(i int, e powercut.Event, fate powercut.Fate) {
	dir := filepath.Join(c.fast, fmt.Sprint("image", c.opened))
	seed := c.r.Uint64()
	save := func(dir string) {
		if err := c.disk.Image(dir, fate, rand.New(rand.NewPCG(seed, seed))); err != nil {
			c.t.Fatal(err)
		}
	}
	save(dir)
	defer os.RemoveAll(dir)
	c.opened++
	c.images[fate.String()]++
	if err := c.found(filepath.Join(dir, "store.db")); err != nil {
		c.t.Errorf("run %d, cut behind call %d (%v %s), what was not synced is %v: %v", c.runs, i, e.Op, e.Name, fate, err)
		if *keepFlag != "" {
			save(*keepFlag)
			c.t.Logf("the image is in %s", *keepFlag)
		}
	}
	if fate == powercut.Scattered && !c.later && c.r.IntN(40) == 0 && len(c.recoveries) < 60 {
		dir := filepath.Join(c.t.TempDir(), "store")
		save(dir)
		c.recoveries = append(c.recoveries, recovery{dir, copyKnown(c.known)})
	}
}

func copyKnown(known map[string]*crashed) map[string]*crashed {
	out := newKnown()
	for name, k := range known {
		o := out[name]
		for n := range k.safe {
			o.safe[n] = true
		}
		for n := range k.acked {
			o.acked[n] = true
		}
		for n := range k.marked {
			o.marked[n] = true
		}
		for n, seq := range k.seqs {
			o.seqs[n] = seq
		}
		o.highest, o.newest = k.highest, k.newest
	}
	return out
}

// found opens a store and compares it with what is known of it.
func found(path string, known map[string]*crashed) (err error) {
	var damage error
	s, err := buffer.Open(path, fast(), nil, buffer.WithEvents(func(e buffer.Event) { damage = e.Err }))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if s.Restored() {
		return errors.New("the store was taken for a restored backup")
	}
	if damage != nil {
		return fmt.Errorf("the store was found damaged: %w", damage)
	}
	var told []error
	wrong := func(format string, args ...any) { told = append(told, fmt.Errorf(format, args...)) }
	for _, name := range crashQueues {
		k := known[name]
		value, _, err := s.Table("newest").Get([]byte(name))
		if err != nil {
			return err
		}
		limit, _ := strconv.Atoi(string(value))
		q, err := s.Queue(name, buffer.Limits{})
		if err != nil {
			return err
		}
		c := s.Begin()
		c.Attach(q, buffer.Sync)
		attached := make(chan error, 1)
		c.Commit(func(err error) { attached <- err })
		select {
		case err := <-attached:
			if err != nil {
				return err
			}
		case <-time.After(time.Minute):
			return errors.New("no commit within a minute")
		}
		last, lastSeq := 0, uint64(0)
		there := make(map[string]bool)
		for {
			e, ok, err := q.Next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			text := string(e.Data)
			n, err := strconv.Atoi(text)
			if err != nil {
				wrong("queue %s holds %q", name, text)
			}
			there[text] = true
			if n <= last || e.Seq <= lastSeq {
				wrong("queue %s: %d (%d) comes after %d (%d)", name, n, e.Seq, last, lastSeq)
			}
			last, lastSeq = n, e.Seq
			seq, handed := k.seqs[text]
			switch {
			case n > limit:
				wrong("queue %s holds %d, but the put of its Change is not there: %d is the newest", name, n, limit)
			case handed && seq != e.Seq:
				wrong("queue %s: %d was handed out as %d and is %d now", name, n, seq, e.Seq)
			case handed && !e.Again:
				wrong("queue %s: %d was handed out and is said to be new", name, n)
			case k.marked[text] && !e.Received:
				wrong("queue %s: the mark of %d is lost", name, n)
			}
		}
		for n := range k.safe {
			if !there[n] && !k.acked[n] {
				wrong("queue %s: %s was reported as safe and is lost", name, n)
			}
		}
		c = s.Begin()
		seq, err := c.Append(q, early("x"))
		c.Commit(nil)
		if err != nil || seq <= k.highest || seq <= lastSeq {
			wrong("queue %s: number %d is given again (%v)", name, seq, err)
		}
	}
	if st := s.Stats(); st.Damaged > 0 {
		wrong("%d records are damaged", st.Damaged)
	}
	return errors.Join(told...)
}
