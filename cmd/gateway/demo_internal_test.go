package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestTallyTellsLostFromDoubleFromDisordered(t *testing.T) {
	for _, c := range []struct {
		name    string
		arrive  []string // of a1 a2 a3 b1: topic a or b, payload 1 to 3
		want    counted
		skipped int64
	}{
		{"all, in order", []string{"a1", "b1", "a2", "a3"}, counted{Published: 4, Arrived: 4}, 0},
		{"order between topics is free", []string{"b1", "a1", "a2", "a3"}, counted{Published: 4, Arrived: 4}, 0},
		{"on the way", []string{"a1"}, counted{Published: 4, Arrived: 1, Missing: 3}, 0},
		{"lost", []string{"a1", "a3", "b1"}, counted{Published: 4, Arrived: 3, Missing: 1}, 1},
		{"double", []string{"a1", "a1", "a2", "a3", "b1", "a2"}, counted{Published: 4, Arrived: 4, Duplicates: 2}, 0},
		{"disordered", []string{"a2", "a1", "a3", "b1"}, counted{Published: 4, Arrived: 4, Disordered: 1}, 0},
		{"strange", []string{"a9", "a1"}, counted{Published: 4, Arrived: 1, Missing: 3, Strange: 1}, 0},
		{"on the wrong topic", []string{"b2"}, counted{Published: 4, Missing: 4, Strange: 1}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			tl := newTally()
			for _, m := range []string{"a1", "a2", "a3", "b1"} {
				tl.published(m[:1]+"/state", []byte(m[1:]))
			}
			for _, m := range c.arrive {
				tl.arrived(m[:1]+"/state", []byte(m[1:]))
			}
			if got := tl.counts(); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if got := tl.skipped(); got != c.skipped {
				t.Errorf("skipped %d, want %d", got, c.skipped)
			}
		})
	}
}

func TestBacklogIsWhatWasPublishedBefore(t *testing.T) {
	tl := newTally()
	for i := range 5 {
		tl.published("a", fmt.Append(nil, i))
	}
	tl.arrived("a", []byte("0"))
	if got := tl.markBacklog(); got != 4 {
		t.Errorf("marked %d, want 4", got)
	}
	tl.published("a", []byte("later"))
	tl.published("b", []byte("on a new topic"))
	for i := 1; i < 5; i++ {
		if got := tl.backlog(); got != int64(5-i) {
			t.Errorf("before %d arrived: %d left, want %d", i, got, 5-i)
		}
		tl.arrived("a", fmt.Append(nil, i))
	}
	if got, missing := tl.backlog(), tl.counts().Missing; got != 0 || missing != 2 {
		t.Errorf("at the end: %d left, %d missing; want 0 and 2", got, missing)
	}
}

func TestTallyForgetsOldArrivals(t *testing.T) {
	tl := newTally()
	for i := range 3 * rememberedArrivals {
		tl.published("a", fmt.Append(nil, i))
		tl.arrived("a", fmt.Append(nil, i))
	}
	if got := len(tl.flows["a"].known); got > rememberedArrivals {
		t.Errorf("%d messages are remembered, want at most %d", got, rememberedArrivals)
	}
	tl.arrived("a", fmt.Append(nil, 3*rememberedArrivals-1))
	if got := tl.counts(); got.Duplicates != 1 || got.Arrived != 3*rememberedArrivals {
		t.Errorf("got %+v", got)
	}
}

func TestPlanCutsOnceByItself(t *testing.T) {
	p := newPlan(8*time.Second, 8*time.Second, 0)
	if got := changes(&p, time.Minute); got != "8s cut, 16s up, " {
		t.Error(got)
	}
}

func TestPlanCutsAgainAndAgain(t *testing.T) {
	p := newPlan(8*time.Second, 20*time.Second, time.Minute)
	if got := changes(&p, 150*time.Second); got != "8s cut, 28s up, 1m8s cut, 1m28s up, 2m8s cut, 2m28s up, " {
		t.Error(got)
	}
}

func TestPlanStepsBackForAHand(t *testing.T) {
	p := newPlan(8*time.Second, 8*time.Second, 0)
	p.due(9 * time.Second)
	p.taken(10 * time.Second)
	if got := changes(&p, time.Minute); got != "" {
		t.Error("without -every: " + got)
	}
	p = newPlan(8*time.Second, 8*time.Second, 30*time.Second)
	p.taken(2 * time.Second)
	if got := changes(&p, time.Minute); got != "32s cut, 40s up, " {
		t.Error("with -every: " + got)
	}
}

func changes(p *plan, until time.Duration) (seen string) {
	for at := time.Duration(0); at < until; at += time.Second {
		if due, up := p.due(at); due {
			seen += fmt.Sprintf("%v %s, ", at, map[bool]string{true: "up", false: "cut"}[up])
		}
	}
	return seen
}

func TestCutLinkEndsConnectionsAndRefusesNewOnes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	far := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			far <- err
			return
		}
		_, err = io.Copy(io.Discard, c)
		c.Close()
		far <- err
	}()
	l := newCuttable(1<<20, 0)
	c, err := l.Dial(context.Background(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	l.Set(false)
	if err := <-far; err == nil {
		t.Error("the far side saw a clean end, not a reset")
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("a cut connection took bytes")
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Dial(gone, "tcp", ln.Addr().String()); !errors.Is(err, errCut) {
		t.Errorf("dial through a cut link: %v", err)
	}
	dialled := make(chan error, 1)
	go func() {
		c, err := l.Dial(context.Background(), "tcp", ln.Addr().String())
		if err == nil {
			err = c.Close()
		}
		dialled <- err
	}()
	l.Set(true)
	if err := <-dialled; err != nil {
		t.Errorf("dial while it is restored: %v", err)
	}
	if n := len(l.conns); n != 0 {
		t.Errorf("%d connections are still known", n)
	}
}

func TestLinkIsThin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go io.Copy(io.Discard, far)
		c := &thinConn{Conn: near, link: newCuttable(1000, 0), gone: make(chan struct{})}
		begun := time.Now()
		if _, err := c.Write(make([]byte, 500)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 500*time.Millisecond {
			t.Errorf("500 bytes at 1000 per second took %v", took)
		}
		time.AfterFunc(time.Second, func() { c.Close() })
		if _, err := c.Write(make([]byte, 100_000)); !errors.Is(err, errCut) {
			t.Errorf("a write that is cut: %v", err)
		}
		far.Close()
	})
}

func TestOnlyABacklogWaitsForTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go io.Copy(io.Discard, far)
		c := &thinConn{Conn: near, link: newCuttable(1000, 400), gone: make(chan struct{})}
		for i, w := range []struct {
			rest  time.Duration
			bytes int
			takes time.Duration
		}{
			{0, 400, 0},
			{400 * time.Millisecond, 400, 0}, // the link has rested
			{0, 100, 100 * time.Millisecond}, // it has not
			{time.Hour, 1000, 600 * time.Millisecond},
		} {
			time.Sleep(w.rest)
			begun := time.Now()
			if _, err := c.Write(make([]byte, w.bytes)); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun); took != w.takes {
				t.Errorf("write %d: %d bytes after a rest of %v took %v, want %v", i, w.bytes, w.rest, took, w.takes)
			}
		}
		far.Close()
	})
}
