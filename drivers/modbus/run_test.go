package modbus_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/modbus"
	"edgegateway/drivers/modbus/modbustest"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/ptytest"
)

// diary is the Events of a device under test.
type diary struct {
	mu    sync.Mutex
	lines []string
	news  chan struct{}
}

func newDiary() *diary { return &diary{news: make(chan struct{}, 1)} }

func (d *diary) add(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	if n := len(d.lines); n == 0 || d.lines[n-1] != line {
		d.lines = append(d.lines, line)
	}
	select {
	case d.news <- struct{}{}:
	default:
	}
}
func (d *diary) Online([]drivers.Channel, func(drivers.Command) (drivers.Command, error)) {
	d.add("online")
}
func (d *diary) Offline(reason error)                       { d.add("offline: %v", reason) }
func (d *diary) Reading(r drivers.Reading)                  { d.add("%s", show(r)) }
func (d *diary) Result(drivers.Job, drivers.Reading, error) {}

func (d *diary) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, "|")
}

// wait waits until the diary has a line with text.
func (d *diary) wait(t *testing.T, text string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for !strings.Contains(d.text(), text) {
		select {
		case <-d.news:
		case <-late:
			t.Fatalf("no %q in: %s", text, d.text())
		}
	}
}

// Two units on a real terminal: the adapter is pulled out, and another one appears
// at the same name.
func TestUnitsSurviveAPulledPlug(t *testing.T) {
	master, path := ptytest.Open(t)
	byID := filepath.Join(t.TempDir(), "usb-adapter")
	if err := os.Symlink(path, byID); err != nil {
		t.Fatal(err)
	}
	units := map[byte]*modbustest.Unit{1: {Holding: map[int]uint16{0: 10}}, 2: {Holding: map[int]uint16{0: 20}}}
	var serving sync.WaitGroup
	serving.Go(func() { modbustest.ServeRTU(master, units) })

	ctx, cancel := context.WithCancel(t.Context())
	kind := modbus.RTUKind()
	var diaries []*diary
	var running sync.WaitGroup
	for id := 1; id <= 2; id++ {
		d := newDiary()
		diaries = append(diaries, d)
		running.Go(func() {
			err := drivers.Run(ctx, drivers.Spec{
				Kind: kind, Every: 20 * time.Millisecond, Ports: drivers.Ports{Serial: serial.Open},
				Decode: with(fmt.Sprintf("path = %q\nbaud = 115200\nunit_id = %d\npoints = [{name = \"a\"}]", byID, id)),
			}, d)
			if err != nil {
				t.Error(err)
			}
		})
	}
	for i, d := range diaries {
		d.wait(t, fmt.Sprintf("a=%d", 10*(i+1)))
	}
	master.Close()
	for _, d := range diaries {
		d.wait(t, "offline: ")
	}
	other, path := ptytest.Open(t)
	os.Remove(byID)
	if err := os.Symlink(path, byID); err != nil {
		t.Fatal(err)
	}
	for i, u := range []byte{1, 2} {
		units[u].Change(func(u *modbustest.Unit) { u.Holding[0] = uint16(11 * (i + 1)) })
	}
	serving.Go(func() { modbustest.ServeRTU(other, units) })
	for i, d := range diaries {
		d.wait(t, fmt.Sprintf("a=%d", 11*(i+1)))
	}
	cancel()
	running.Wait()
	other.Close()
	serving.Wait()
	for _, d := range diaries {
		t.Log(d.text())
	}
}

// A unit that is off takes little of the time of the others on its line.
func TestSilentUnitDoesNotDisturbItsNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		units := map[byte]*modbustest.Unit{1: one(), 2: one(), 3: one()}
		l := newLine(units)
		ctx, cancel := context.WithCancel(t.Context())
		kind := modbus.RTUKind()
		var stats [4]drivers.Stats
		var diaries [4]*diary
		var running sync.WaitGroup
		for id := 1; id <= 3; id++ {
			diaries[id] = newDiary()
			running.Go(func() {
				drivers.Run(ctx, drivers.Spec{
					Kind: kind, Every: time.Second, Ports: l.Ports(), Stats: &stats[id],
					Decode: with(onPort + fmt.Sprintf("unit_id = %d\npoints = [{name = \"a\", address = 101}]", id)),
				}, diaries[id])
			})
		}
		time.Sleep(time.Minute)
		units[3].Mute(true)
		time.Sleep(10 * time.Minute)
		for id := 1; id <= 2; id++ {
			c := stats[id].Snapshot()
			if c.Readings < 660*95/100 || c.Errors > 0 {
				t.Errorf("unit %d: %d readings in 11 minutes, %d errors, %d skipped", id, c.Readings, c.Errors, c.Skipped)
			}
		}
		units[3].Mute(false)
		time.Sleep(2 * time.Minute)
		cancel()
		running.Wait()
		want := "online|a=5|offline: 3 times in a row: no answer from unit 3 on /dev/ttyUSB0; check its address, wiring and power|" +
			"offline: no answer from unit 3 on /dev/ttyUSB0; check its address, wiring and power|online|a=5|offline: the gateway is stopping"
		if got := diaries[3].text(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if !l.Closed() {
			t.Error("the port is still open")
		}
	})
}
