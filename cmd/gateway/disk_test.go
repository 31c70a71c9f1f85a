package main_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
	"edgegateway/internal/need"
)

// A real gateway on disks that are full, read-only, slow or broken.

// mount puts a small file system in memory over the data directory of a gateway, and
// takes it away at the end of the test.
func mount(t *testing.T, dir, options string) (data string) {
	t.Helper()
	data = filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	need.Tmpfs(t, data, options)
	return data
}

// needStrace skips the test where calls can not be made to fail.
func needStrace(t *testing.T) {
	t.Helper()
	need.Met(t, exec.Command("strace", "-qq", "-o", os.DevNull, "true").Run())
}

// health returns what /healthz says.
func (r *running) health() string {
	r.t.Helper()
	res, err := http.Get(r.page + "healthz")
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return fmt.Sprint(res.StatusCode, " ", string(b))
}

func (r *running) dial(id string, expiry uint32) (*brokertest.Client, *packet.Connack) {
	r.t.Helper()
	c, a := brokertest.Connect(r.t, r.mqtt, packet.V5, &packet.Connect{ClientID: id, CleanStart: expiry == 0, SessionExpiry: expiry})
	return c.WaitFor(tooLong), a
}

func subscribe(c *brokertest.Client, filter string) {
	c.Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: filter, QoS: packet.QoS1}}}).Receive()
}

func qos1(topic string, n int) *packet.Publish {
	return &packet.Publish{Topic: []byte(topic), Payload: fmt.Appendf(nil, "%d", n), QoS: packet.QoS1, ID: uint16(n)}
}

// alarmed waits for alarm/disk to be raised, or cleared.
func alarmed(t *testing.T, c *brokertest.Client, raised bool) {
	t.Helper()
	for {
		p, ok := c.Receive().(*packet.Publish)
		if ok && string(p.Topic) == "test/alarm/disk" && (len(p.Payload) > 0) == raised {
			return
		}
	}
}

// local shows that QoS 0 and pings go on, and returns how long each took.
func (r *running) local(c *brokertest.Client, times int) (worst time.Duration) {
	r.t.Helper()
	for n := range times {
		start := time.Now()
		payload := fmt.Appendf(nil, "%d", n)
		c.Send(&packet.Publish{Topic: []byte("local"), Payload: payload}, &packet.Pingreq{})
		pong, echo := false, false
		for !pong || !echo {
			switch p := c.Receive().(type) {
			case *packet.Pingresp:
				pong = true
			case *packet.Publish:
				echo = echo || string(p.Payload) == string(payload)
			}
		}
		worst = max(worst, time.Since(start))
	}
	return worst
}

// collect takes the numbers that wait for a session, up to one of them.
func collect(r *running, id string, last int) (numbers []int) {
	r.t.Helper()
	c, a := r.dial(id, 3600)
	if !a.SessionPresent {
		r.t.Error("the session is lost")
	}
	for {
		p, ok := c.Receive().(*packet.Publish)
		if !ok {
			continue
		}
		n, _ := strconv.Atoi(strings.TrimSpace(string(p.Payload)))
		numbers = append(numbers, n)
		c.Send(&packet.Ack{Kind: packet.PUBACK, ID: p.ID})
		if n == last {
			return numbers
		}
	}
}

// kept checks that what was acknowledged is there, once and in order.
func kept(t *testing.T, acked, got []int) {
	t.Helper()
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("not in order, or not once: %v", got)
	}
	for _, n := range acked {
		if !slices.Contains(got, n) {
			t.Errorf("%d was acknowledged and is lost", n)
		}
	}
}

func TestAGatewayStartsOnAReadOnlyDisk(t *testing.T) {
	dir := t.TempDir()
	data := mount(t, dir, "size=16m,ro")
	r := start(t, writeConfig(t, dir, "[[devices]]\nname = \"valve\"\nkind = \"sim\"\nevery = \"1s\"\n"))
	alarms, _ := r.dial("alarms", 0)
	subscribe(alarms, "test/alarm/#")
	alarmed(t, alarms, true)
	if h := r.health(); !strings.HasPrefix(h, "503 ") {
		t.Errorf("healthz: %s", h)
	}
	c, a := r.dial("lasting", 3600)
	if a.SessionExpiry == nil || *a.SessionExpiry != 0 {
		t.Error("a session is promised that can not be kept")
	}
	subscribe(c, "local")
	t.Logf("QoS 0 and PINGRESP: %v at worst", r.local(c, 50))
	c.Send(qos1("local", 7)) // to itself, in memory
	for puback, echo := false, false; !puback || !echo; {
		switch p := c.Receive().(type) {
		case *packet.Ack:
			puback = p.Code == packet.Success
		case *packet.Publish:
			echo = true
		}
	}
	if out, err := exec.Command("mount", "-o", "remount,rw", data).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v %s", err, out)
	}
	alarmed(t, alarms, false)
	if h := r.health(); h != "200 ok\n" {
		t.Errorf("healthz: %s", h)
	}
	later, _ := r.dial("later", 3600)
	subscribe(later, "kept")
	later.Drop()
	c.Send(qos1("kept", 1))
	for ok := false; !ok; {
		_, ok = c.Receive().(*packet.Ack)
	}
	r.stop()
	r = start(t, filepath.Join(dir, "gateway.toml"))
	kept(t, []int{1}, collect(r, "later", 1))
	r.stop()
}

func TestAFullDiskIsToldAndHeals(t *testing.T) {
	dir := t.TempDir()
	data := mount(t, dir, "size=24m")
	r := start(t, writeConfig(t, dir, "[buffer]\nmemory = \"64KiB\"\nsync = \"1ms\"\n"))
	alarms, _ := r.dial("alarms", 0)
	subscribe(alarms, "test/alarm/#")
	absent, _ := r.dial("absent", 3600)
	subscribe(absent, "kept")
	absent.Drop()
	c, _ := r.dial("local", 0)
	subscribe(c, "local")

	filler := filepath.Join(data, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}

	large := func(n int) *packet.Publish {
		m := qos1("kept", n)
		m.Payload = append(m.Payload, strings.Repeat(" ", 4000)...)
		return m
	}
	pub, _ := r.dial("pub", 0)
	const sent = 40
	for n := 1; n <= sent; n++ { // some fit into the memory, and the rest waits for that
		pub.Send(large(n))
	}
	alarmed(t, alarms, true)
	if h := r.health(); !strings.HasPrefix(h, "503 the disk is full") {
		t.Errorf("healthz: %s", h)
	}
	other, _ := r.dial("other", 0)
	huge := large(1000)
	huge.Payload = append(huge.Payload, make([]byte, 60_000)...)
	other.Send(huge)
	t.Logf("QoS 0 and PINGRESP: %v at worst", r.local(c, 50))
	if a := other.Receive().(*packet.Ack); a.Code != packet.QuotaExceeded {
		t.Errorf("on a full disk: %v", a)
	}
	t.Logf("QoS 0 and PINGRESP: %v at worst", r.local(c, 50))
	if err := errors.Join(os.Remove(filler), f.Truncate(0)); err != nil {
		t.Fatal(err)
	}
	alarmed(t, alarms, false)
	var acked []int
	for range sent {
		if a := pub.Receive().(*packet.Ack); a.Code == packet.Success {
			acked = append(acked, int(a.ID))
		}
	}
	n := sent + 1
	pub.Send(qos1("kept", n))
	if a := pub.Receive().(*packet.Ack); a.Code != packet.Success {
		t.Errorf("with room again: %v", a)
	}
	t.Logf("%d of %d acknowledged", len(acked)+1, n)
	r.signal(syscall.SIGKILL)
	r.end()
	r = start(t, filepath.Join(dir, "gateway.toml"))
	kept(t, append(acked, n), collect(r, "absent", n))
	r.stop()
}

// TestAFailingSyncLosesNothing has calls of the disk fail: the store moves to a fresh
// file, and a kill shows what is really there.
func TestAFailingSyncLosesNothing(t *testing.T) {
	needStrace(t)
	for _, call := range []string{"fdatasync", "pwrite64"} {
		t.Run(call, func(t *testing.T) {
			dir := t.TempDir()
			config := writeConfig(t, dir, "[buffer]\nsync = \"1ms\"\n")
			r := start(t, config)
			absent, _ := r.dial("absent", 3600)
			subscribe(absent, "kept")
			absent.Drop()
			r.stop()

			under := []string{"strace", "-D", "-f", "-qq", "-o", os.DevNull, "-e", "trace=" + call, "-e", "inject=" + call + ":error=EIO:when=6+15" /* of each thread */}
			r = launchUnder(t, under, config).ready()
			pub, _ := r.dial("pub", 0)
			var acked []int
			for n := 1; n <= 60; n++ {
				pub.Send(qos1("kept", n))
				if a := pub.Receive().(*packet.Ack); a.Code != packet.Success {
					t.Fatalf("%v", a)
				}
				acked = append(acked, n)
			}
			r.waitLine("commit failed")
			r.signal(syscall.SIGKILL)
			r.end()
			r = start(t, config)
			kept(t, acked, collect(r, "absent", 60))
			r.stop()
		})
	}
}

func TestASlowDiskSlowsDownOnlyWhatItHasToKeep(t *testing.T) {
	needStrace(t)
	for _, delay := range []time.Duration{20 * time.Millisecond, 5 * time.Second} {
		t.Run(delay.String(), func(t *testing.T) {
			if testing.Short() && delay > time.Second {
				t.Skip("takes a minute")
			}
			dir := t.TempDir()
			config := writeConfig(t, dir, "")
			r := start(t, config)
			absent, _ := r.dial("absent", 3600)
			subscribe(absent, "kept")
			absent.Drop()
			c, _ := r.dial("local", 0)
			subscribe(c, "local")
			r.local(c, 10)

			slow := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-p", strconv.Itoa(r.cmd.Process.Pid), "-e", "trace=fdatasync,fsync",
				"-e", fmt.Sprintf("inject=fdatasync,fsync:delay_enter=%d", delay.Microseconds()))
			if err := slow.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = slow.Process.Kill() })
			waitTraced(t, r.cmd.Process.Pid)
			before := resident(t, r.cmd.Process.Pid)
			pub, _ := r.dial("pub", 0)
			start := time.Now()
			for n := 1; n <= 100; n++ {
				pub.Send(qos1("kept", n))
			}
			worst := r.local(c, 200)
			connect := time.Now()
			r.dial("new", 3600)
			connected := time.Since(connect)
			for range 100 {
				if a := pub.Receive().(*packet.Ack); a.Code != packet.Success {
					t.Fatalf("%v", a)
				}
			}
			if h := r.health(); h != "200 ok\n" {
				t.Errorf("healthz: %s", h)
			}
			t.Logf("sync takes %v longer: 100 PUBACKs after %v; meanwhile QoS 0 and PINGRESP %v at worst of 200, CONNACK of a new session after %v; memory %d KiB, then %d KiB",
				delay, time.Since(start).Round(time.Millisecond), worst.Round(time.Microsecond), connected.Round(time.Microsecond), before>>10, resident(t, r.cmd.Process.Pid)>>10)
			r.signal(syscall.SIGKILL)
			r.end()
			_ = slow.Wait() // it ends with what it traces
			r = launch(t, config).ready()
			all := make([]int, 100)
			for i := range all {
				all[i] = i + 1
			}
			kept(t, all, collect(r, "absent", 100))
			r.stop()
		})
	}
}

// waitTraced waits until strace has a process.
func waitTraced(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(tooLong); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "TracerPid:") && !strings.Contains(string(b), "TracerPid:\t0\n") {
			return
		}
	}
	t.Fatal("strace does not attach")
}

// resident returns the resident memory of a process in bytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b))
	pages, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
