package serialtest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/drivers"
	"edgegateway/internal/need"
)

// A Diary is what a device under drivers.Run tells, a line for each event; of equal
// lines in a row it has one. Its methods are safe for concurrent use.
type Diary struct {
	Stats drivers.Stats

	end  context.CancelFunc
	over chan error

	mu    sync.Mutex // guards what follows
	lines []string
	news  chan struct{} // closed and made anew by each event
}

// Run runs a device until End, or the end of the test. Its Stats go to the diary.
func Run(t testing.TB, s drivers.Spec) *Diary {
	ctx, cancel := context.WithCancel(context.Background())
	d := &Diary{end: cancel, over: make(chan error, 1), news: make(chan struct{})}
	s.Stats = &d.Stats
	go func() { d.over <- drivers.Run(ctx, s, d) }()
	t.Cleanup(func() { d.End(t) })
	return d
}

// End ends Run and waits for it.
func (d *Diary) End(t testing.TB) {
	t.Helper()
	d.end()
	if err := <-d.over; err != nil {
		t.Errorf("Run ended with %v", err)
	}
	d.over <- nil // for who calls again
}

// Text returns the lines, with | between them.
func (d *Diary) Text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, "|")
}

// Wait waits until a line holds text.
func (d *Diary) Wait(t testing.TB, text string) {
	t.Helper()
	late := time.After(need.Patience)
	for {
		d.mu.Lock()
		all, news := strings.Join(d.lines, "|"), d.news
		d.mu.Unlock()
		if strings.Contains(all, text) {
			return
		}
		select {
		case <-news:
		case <-late:
			t.Fatalf("no %q in: %s", text, all)
		}
	}
}

func (d *Diary) add(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.lines); n > 0 && d.lines[n-1] == line {
		return
	}
	d.lines = append(d.lines, line)
	close(d.news)
	d.news = make(chan struct{})
}

// Online, Offline, Reading and Result are for drivers.Run.
func (d *Diary) Online([]drivers.Channel, func(drivers.Command) (drivers.Command, error)) {
	d.add("online")
}

// Offline is for drivers.Run.
func (d *Diary) Offline(reason error) { d.add("offline: " + reason.Error()) }

// Reading is for drivers.Run.
func (d *Diary) Reading(r drivers.Reading) {
	if !r.Missed {
		d.add(Show(r))
	}
}

// Result is for drivers.Run.
func (d *Diary) Result(_ drivers.Job, r drivers.Reading, err error) {
	d.add(fmt.Sprintf("result: %s, %v", Show(r), err))
}

// Show writes a reading as "t=21.5 rh=40 bad: co2", and its fault behind that.
func Show(r drivers.Reading) string {
	var parts []string
	for _, v := range r.Values {
		parts = append(parts, fmt.Sprintf("%s=%v", v.Channel, v.V))
	}
	if len(r.Bad) > 0 {
		parts = append(parts, "bad: "+strings.Join(r.Bad, " "))
	}
	if r.Fault != nil {
		parts = append(parts, "fault: "+r.Fault.Error())
	}
	return strings.Join(parts, " ")
}
