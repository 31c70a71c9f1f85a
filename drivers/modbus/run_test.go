package modbus_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/modbus"
	"edgegateway/drivers/modbus/modbustest"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/ptytest"
	"edgegateway/drivers/serial/serialtest"
)

// Two units on a real terminal: the adapter is pulled out, and another one appears
// at the same name.
func TestUnitsSurviveAPulledPlug(t *testing.T) {
	units := map[byte]*modbustest.Unit{1: {Holding: map[int]uint16{0: 10}}, 2: {Holding: map[int]uint16{0: 20}}}
	cable := ptytest.Plug(t)
	var serving sync.WaitGroup
	serve := func() {
		far := cable.File
		serving.Go(func() { modbustest.ServeRTU(far, units) })
	}
	serve()
	kind := modbus.RTUKind()
	var diaries []*serialtest.Diary
	for id := 1; id <= 2; id++ {
		diaries = append(diaries, serialtest.Run(t, drivers.Spec{
			Kind: kind, Every: 20 * time.Millisecond, Ports: drivers.Ports{Serial: serial.Open},
			Decode: with(fmt.Sprintf("path = %q\nbaud = 115200\nunit_id = %d\npoints = [{name = \"a\"}]", cable.Path, id)),
		}))
	}
	for i, d := range diaries {
		d.Wait(t, fmt.Sprintf("a=%d", 10*(i+1)))
	}
	cable.Pull()
	for _, d := range diaries {
		d.Wait(t, "offline: ")
	}
	for i, u := range []byte{1, 2} {
		units[u].Change(func(u *modbustest.Unit) { u.Holding[0] = uint16(11 * (i + 1)) })
	}
	cable.PlugAgain()
	serve()
	for i, d := range diaries {
		d.Wait(t, fmt.Sprintf("a=%d", 11*(i+1)))
		d.End(t)
	}
	cable.Close()
	serving.Wait()
}

// A unit that is off takes little of the time of the others on its line.
func TestSilentUnitDoesNotDisturbItsNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		units := map[byte]*modbustest.Unit{1: one(), 2: one(), 3: one()}
		l := newLine(units)
		kind := modbus.RTUKind()
		var diaries [4]*serialtest.Diary
		for id := 1; id <= 3; id++ {
			diaries[id] = serialtest.Run(t, drivers.Spec{
				Kind: kind, Every: time.Second, Ports: l.Ports(),
				Decode: with(onPort + fmt.Sprintf("unit_id = %d\npoints = [{name = \"a\", address = 101}]", id)),
			})
		}
		time.Sleep(time.Minute)
		units[3].Mute(true)
		time.Sleep(10 * time.Minute)
		for id := 1; id <= 2; id++ {
			c := diaries[id].Stats.Snapshot()
			if c.Readings < 660*95/100 || c.Errors > 0 {
				t.Errorf("unit %d: %d readings in 11 minutes, %d errors, %d skipped", id, c.Readings, c.Errors, c.Skipped)
			}
		}
		units[3].Mute(false)
		time.Sleep(2 * time.Minute)
		for _, d := range diaries[1:] {
			d.End(t)
		}
		want := "online|a=5|offline: 3 times in a row: no answer from unit 3 on /dev/ttyUSB0; check its address, wiring and power; are baud rate and parity right (9600 baud, 8N1)?|online|a=5|offline: the gateway is stopping"
		if got := diaries[3].Text(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if !l.Closed() {
			t.Error("the port is still open")
		}
	})
}

// A unit that answers every second request only, with a time for the answer that
// leaves room for a repetition: nobody loses a reading.
func TestUnitThatAnswersEverySecondRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(map[byte]*modbustest.Unit{1: one(), 2: one(), 3: one()})
		var asked atomic.Int64
		l.spoil = func(sent, answer string) string {
			if sent[0] == 3 && asked.Add(1)%2 == 0 {
				return ""
			}
			return answer
		}
		kind := modbus.RTUKind()
		var diaries []*serialtest.Diary
		for id := 1; id <= 3; id++ {
			diaries = append(diaries, serialtest.Run(t, drivers.Spec{
				Kind: kind, Every: time.Second, Ports: l.Ports(),
				Decode: with(onPort + fmt.Sprintf("timeout = \"300ms\"\nunit_id = %d\npoints = [{name = \"a\", address = 101}]", id)),
			}))
		}
		time.Sleep(10 * time.Minute)
		for i, d := range diaries {
			if c := d.Stats.Snapshot(); c.Readings < 600*95/100 || c.Errors > 0 || c.Opens != 1 {
				t.Errorf("unit %d: %d readings in 10 minutes, %d errors, %d skipped, opened %d times", i+1, c.Readings, c.Errors, c.Skipped, c.Opens)
			}
		}
		if n := asked.Load(); n < 1000 {
			t.Errorf("unit 3 was asked %d times", n)
		}
	})
}

// A dozen units on a slow line, which they need three quarters of the time: each waits for
// all others before each of its requests, and loses nothing.
func TestManyUnitsOnASlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		units := make(map[byte]*modbustest.Unit)
		for id := range byte(12) {
			units[id+1] = one()
		}
		l := newLine(units)
		var sending sync.WaitGroup
		l.spoil = func(_, answer string) string {
			sending.Go(func() {
				time.Sleep(200 * time.Millisecond) // some 40 characters at 2400 bit/s
				l.Feed(answer)
			})
			return ""
		}
		kind := modbus.RTUKind()
		var diaries []*serialtest.Diary
		for id := range len(units) {
			diaries = append(diaries, serialtest.Run(t, drivers.Spec{
				Kind: kind, Every: 10 * time.Second, Ports: l.Ports(),
				Decode: with(onPort + fmt.Sprintf("baud = 2400\nunit_id = %d\npoints = [{name = \"a\", address = 101}, {name = \"n\", table = \"input\", address = 12}, {name = \"pump\", table = \"coil\"}]", id+1)),
			}))
		}
		time.Sleep(10*time.Minute - time.Second)
		for i, d := range diaries {
			d.End(t)
			if c := d.Stats.Snapshot(); c.Readings != 60 || c.Errors > 0 {
				t.Errorf("unit %d: %d readings in 10 minutes, %d errors: %s", i+1, c.Readings, c.Errors, d.Text())
			}
		}
		sending.Wait()
	})
}

// A unit that takes its time, as timeout allows it, has it for each of its requests.
func TestUnitThatIsAlwaysSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(map[byte]*modbustest.Unit{1: alike()})
		var late sync.WaitGroup
		var slow atomic.Bool
		slow.Store(true)
		delayed(l, 3*time.Second, "", &slow, &late)
		d := serialtest.Run(t, drivers.Spec{Kind: modbus.RTUKind(), Ports: l.Ports(), Decode: with(onPort + "timeout = \"4s\"\n" + twoAlike)})
		time.Sleep(time.Minute)
		d.End(t)
		late.Wait()
		if got, want := d.Text(), "online|a=1 b=2|offline: the gateway is stopping"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}
