package buffer_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"edgegateway/buffer"
)

var (
	killsFlag    = flag.Int("kills", 12, "how often the crash test kills its child")
	emulatorFlag = flag.String("emulator", "", "program that runs the crash test's child, for a test binary of another machine")
)

// childEnv names the store of the crash test's child process.
const childEnv = "BUFFER_CRASH_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		first, _ := strconv.Atoi(os.Getenv(childEnv + "_FIRST"))
		seed, _ := strconv.ParseUint(os.Getenv(childEnv+"_SEED"), 10, 64)
		if err := child(path, first, seed, os.Getenv(childEnv+"_END")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

var crashQueues = []string{"one", "two"}

// child appends numbered records and acknowledges some, until it is killed. It
// tells on stdout, one line each:
//
//	open          the store is open
//	safe q n      done(nil) was called for number n of queue q
//	hand q n seq  Next gave it
//	mark q n      Received is on disk
//	ack q n       it is about to be acknowledged
//
// With an end, "kill 30" or "close 30", it ends by itself after 30 records; with
// "fail 30" as well, and its fifth commit fails. With "compact 30" it begins when the
// file was made smaller. With "restore <file>" it puts that in place and tells
// "restored".
func child(path string, first int, seed uint64, end string) error {
	how, last := "", -1
	if from, ok := strings.CutPrefix(end, "restore "); ok {
		_, err := buffer.Restore(path, from)
		if err == nil {
			_, err = fmt.Println("restored")
		}
		return err
	}
	if end != "" {
		if _, err := fmt.Sscan(end, &how, &last); err != nil {
			return err
		}
		last += first
	}
	cfg := buffer.DefaultConfig()
	cfg.Sync, cfg.Lazy, cfg.MaxSize = 2*time.Millisecond, 10*time.Millisecond, 64<<20
	var commits atomic.Int32
	s, err := buffer.Open(path, cfg, nil, buffer.WithFaults(buffer.Faults{Committed: func() error {
		if how == "fail" && commits.Add(1) == 5 {
			return syscall.EIO // as from a sync: the store moves to a fresh file
		}
		return nil
	}}))
	if err != nil {
		return err
	}
	tell := func(format string, args ...any) {
		fmt.Fprintf(os.Stdout, format+"\n", args...) // one write: lines stay whole
	}
	tell("open")
	for how == "compact" && s.Stats().Compactions == 0 {
		time.Sleep(time.Millisecond)
	}
	queues := make([]*buffer.Queue, len(crashQueues))
	for i, name := range crashQueues {
		if queues[i], err = s.Queue(name, buffer.Limits{}); err != nil {
			return err
		}
		c := s.Begin()
		c.Attach(queues[i], buffer.Sync)
		c.Commit(nil)
	}
	if err := s.Sync(context.Background()); err != nil {
		return err
	}
	for i, q := range queues {
		go func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			ack := func(e buffer.Entry) {
				tell("ack %s %s", q.Name(), e.Data)
				q.Ack(e.Seq)
			}
			var held []buffer.Entry
			for {
				e, ok, err := q.Next()
				if err != nil {
					tell("error %v", err)
					return
				}
				if !ok {
					time.Sleep(time.Millisecond)
					continue
				}
				tell("hand %s %s %d", q.Name(), e.Data, e.Seq)
				switch r.IntN(4) {
				case 0:
					held = append(held, e)
				case 1:
					held = append(held, e)
					q.Received(e.Seq, func(err error) {
						if err == nil {
							tell("mark %s %s", q.Name(), e.Data)
						}
					})
				default:
					ack(e)
				}
				if len(held) > 300 { // a window, as every receiver has one
					ack(held[0])
					held = held[1:]
				}
			}
		}()
	}
	r := rand.New(rand.NewPCG(seed, 99))
	for n := first; ; n++ {
		switch {
		case n == last && how != "kill":
			return s.Close()
		case n == last:
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case end != "":
			time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
		}
		if err := s.Admit(context.Background(), 200); err != nil {
			return err
		}
		c := s.Begin()
		text := strconv.Itoa(n)
		for _, q := range queues {
			if _, err := c.Append(q, buffer.Record{
				Data: []byte(text), Early: n%3 > 0, Urgency: 1 + buffer.Urgency(r.IntN(2)),
			}); err != nil {
				return err
			}
			c.Put(s.Table("newest"), []byte(q.Name()), []byte(text), buffer.Urgency(r.IntN(3)))
		}
		c.Commit(func(err error) {
			if err == nil {
				for _, q := range queues {
					tell("safe %s %s", q.Name(), text)
				}
			}
		})
		if r.IntN(50) == 0 {
			time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
		}
	}
}

// crashed is what the parent knows of one queue, over all kills.
type crashed struct {
	safe, acked, marked map[string]bool
	seqs                map[string]uint64 // of what was handed out
	highest             uint64
	newest              int // the highest n that the child spoke of
}

func TestWhatWasReportedAsSafeSurvivesKill(t *testing.T) {
	r := seeded(t)
	kills := *killsFlag
	if testing.Short() {
		kills = min(kills, 4)
	}
	path := filepath.Join(t.TempDir(), "store.db")
	known := make(map[string]*crashed)
	for _, q := range crashQueues {
		known[q] = &crashed{make(map[string]bool), make(map[string]bool), make(map[string]bool), make(map[string]uint64), 0, 0}
	}
	first, lines, kept := 1, 0, 0
	for range kills {
		cmd := exec.Command(os.Args[0])
		if *emulatorFlag != "" {
			cmd = exec.Command(*emulatorFlag, os.Args[0])
		}
		cmd.Env = append(os.Environ(), childEnv+"="+path, fmt.Sprintf("%s_FIRST=%d", childEnv, first), fmt.Sprintf("%s_SEED=%d", childEnv, r.Uint64()))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		scanner := bufio.NewScanner(out)
		if !scanner.Scan() || scanner.Text() != "open" {
			cmd.Process.Kill()
			cmd.Wait()
			t.Fatalf("the child could not open the store: %s%s", scanner.Text(), &stderr)
		}
		killer := time.AfterFunc(time.Duration(r.IntN(120))*time.Millisecond, func() { cmd.Process.Kill() })
		for scanner.Scan() {
			lines++
			note(t, known, scanner.Text())
		}
		killer.Stop()
		cmd.Process.Kill()
		cmd.Wait()
		if stderr.Len() > 0 {
			t.Fatalf("the child failed: %s", &stderr)
		}
		n, left := verify(t, crash(t, path), known)
		first, kept = max(first, n+1), left
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills, %d records appended, %d reports, %d records left", kills, first-1, lines, kept)
}

func note(t *testing.T, known map[string]*crashed, line string) {
	var what, q, n string
	var seq uint64
	fmt.Sscan(line, &what, &q, &n, &seq)
	k := known[q]
	number, _ := strconv.Atoi(n)
	k.newest = max(k.newest, number)
	switch what {
	case "safe":
		k.safe[n] = true
	case "ack":
		k.acked[n] = true
	case "mark":
		k.marked[n] = true
	case "hand":
		if old, ok := k.seqs[n]; ok && old != seq {
			t.Errorf("queue %s: record %s was handed out as %d, then as %d", q, n, old, seq)
		}
		k.seqs[n] = seq
		k.highest = max(k.highest, seq)
	default:
		t.Errorf("the child says %q", line)
	}
}

// verify opens a copy of the store and compares it with what is known. It returns
// the highest number that is there, or was, and how many records are left.
func verify(t *testing.T, path string, known map[string]*crashed) (newest, left int) {
	t.Helper()
	s := open(t, path, fast())
	if aside := s.Stats().SetAside; aside != "" {
		t.Fatalf("the file was found damaged and is at %s", aside)
	}
	found := make(map[string]map[string]bool)
	for _, name := range crashQueues {
		k := known[name]
		value, _, err := s.Table("newest").Get([]byte(name))
		if err != nil {
			t.Fatal(err)
		}
		limit, _ := strconv.Atoi(string(value))
		newest = max(newest, limit, k.newest)
		q := attached(t, s, name)
		found[name] = make(map[string]bool)
		last, lastSeq := 0, uint64(0)
		for {
			e, ok, err := q.Next()
			if err == nil && !ok { // a long queue waits for a commit now and then
				if err = s.Sync(t.Context()); err == nil {
					e, ok, err = q.Next()
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			left++
			text := string(e.Data)
			n, _ := strconv.Atoi(text)
			found[name][text] = true
			if n <= last || e.Seq <= lastSeq {
				t.Errorf("queue %s: %d (%d) comes after %d (%d)", name, n, e.Seq, last, lastSeq)
			}
			last, lastSeq = n, e.Seq
			if n > limit {
				t.Errorf("queue %s holds %d, but the put of its Change is not there: %d is the newest", name, n, limit)
			}
			if seq, handed := k.seqs[text]; handed && seq != e.Seq {
				t.Errorf("queue %s: %d was handed out as %d and is %d now", name, n, seq, e.Seq)
			} else if handed && !e.Again {
				t.Errorf("queue %s: %d was handed out and is said to be new", name, n)
			}
			if k.marked[text] && !e.Received && !k.acked[text] { // the mark of what is acknowledged is not written
				t.Errorf("queue %s: the mark of %d is lost", name, n)
			}
			delete(k.safe, text)
		}
		for n := range k.safe {
			if !k.acked[n] {
				t.Errorf("queue %s: %s was reported as safe and is lost", name, n)
			}
		}
		// Its put came with it, or a newer one did.
		if v := string(value); v != "" && !found[name][v] && !k.acked[v] {
			t.Errorf("queue %s: the put of %s is there, its entry is not", name, v)
		}
		do(t, s, func(c *buffer.Change) {
			if seq := add(t, c, q, early("x")); seq <= k.highest {
				t.Errorf("queue %s: number %d is given again", name, seq)
			}
		})
		for n := range found[name] {
			k.safe[n] = true
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return newest, left
}
