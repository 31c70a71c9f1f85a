package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"edgegateway/broker/packet"
)

// inject has calls of a running gateway fail, or wait, until heal is called.
func inject(t *testing.T, r *running, calls, how string) (heal func()) {
	t.Helper()
	needStrace(t)
	pid := r.cmd.Process.Pid
	s := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-p", strconv.Itoa(pid), "-e", "trace="+calls, "-e", "inject="+calls+":"+how)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	heal = func() {
		if !ended {
			ended = true
			_ = s.Process.Kill() // what it has stopped goes on
			_ = s.Wait()
		}
	}
	t.Cleanup(heal)
	waitTraced(t, pid)
	return heal
}

// fill takes all room of the disk on which data lies.
func fill(t *testing.T, data string) (heal func()) {
	t.Helper()
	name := filepath.Join(data, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// TestCommandsAreCarriedOutThoughTheDiskTakesNothing breaks the disk of a running
// gateway. What must be kept waits, and is kept when the disk takes it again; a command
// to an actuator is carried out and answered meanwhile, though its result is also for a
// cloud that is away.
func TestCommandsAreCarriedOutThoughTheDiskTakesNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		tells bool // alarm/disk, within seconds
		fails func(t *testing.T, r *running, data string) (heal func())
	}{
		{"it is read-only", true, func(t *testing.T, r *running, _ string) func() {
			return inject(t, r, "pwrite64,ftruncate,fdatasync", "error=EROFS")
		}},
		{"it is full", true, func(t *testing.T, _ *running, data string) func() { return fill(t, data) }},
		{"it does not answer", false, func(t *testing.T, r *running, _ string) func() {
			return inject(t, r, "pwrite64,fdatasync,fsync", "delay_enter=600000000")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			data := mount(t, dir, "size=8m")
			config := writeConfig(t, dir, `
[buffer]
sync = "1ms"
[[devices]]
name = "valve"
kind = "sim"
every = "1s"
[[cloud]]
name = "acme"
servers = ["mqtt://127.0.0.1:1"]
up = [{ from = "test/+/result", to = "x/+/result", qos = 1 }]
`)
			r := start(t, config)
			alarms, _ := r.dial("alarms", 0)
			subscribe(alarms, "test/alarm/disk")
			absent, _ := r.dial("absent", 3600)
			subscribe(absent, "kept")
			absent.Drop()
			operator, _ := r.dial("operator", 0)
			subscribe(operator, "test/valve/result")
			pub, _ := r.dial("pub", 0)

			heal := c.fails(t, r, data)
			const waiting = 300 // more than fits into what the file has free
			for n := 1; n <= waiting; n++ {
				m := qos1("kept", n)
				m.Payload = append(m.Payload, strings.Repeat(" ", 8000)...)
				pub.Send(m)
			}
			if c.tells {
				alarmed(t, alarms, true)
				if h := r.health(); !strings.HasPrefix(h, "503 ") {
					t.Errorf("healthz: %s", h)
				}
			}
			for n := 1; n <= 30; n++ {
				value := strconv.FormatBool(n%2 > 0)
				operator.Send(&packet.Publish{Topic: []byte("test/valve/switch/set"), Payload: []byte(value), QoS: packet.QoS(n % 3), ID: uint16(n)})
				accepted, result := n%3 == 0, false
				for !accepted || !result {
					switch p := operator.Receive().(type) {
					case *packet.Ack:
						accepted = accepted || p.ID == uint16(n) && !p.Code.IsError()
						if p.Kind == packet.PUBREC {
							operator.Send(&packet.Ack{Kind: packet.PUBREL, ID: p.ID})
						}
						if p.Code.IsError() {
							t.Fatalf("command %d: %v", n, p)
						}
					case *packet.Publish:
						want := fmt.Sprintf(`{"ok":true,"channel":"switch","value":%s,`, value)
						if result = strings.HasPrefix(string(p.Payload), want); !result {
							t.Errorf("command %d: %s, want %s", n, p.Payload, want)
						}
						if p.QoS == packet.QoS1 {
							operator.Send(&packet.Ack{Kind: packet.PUBACK, ID: p.ID})
						}
					}
				}
			}
			if c.name != "it is full" { // a full one takes what fits into the file
				pub.ExpectNothing()
			}
			heal()
			if c.tells {
				alarmed(t, alarms, false)
			}
			var acked []int
			for range waiting {
				if a := pub.Receive().(*packet.Ack); a.Code == packet.Success {
					acked = append(acked, int(a.ID))
				}
			}
			pub.Send(qos1("kept", waiting+1))
			if a := pub.Receive().(*packet.Ack); a.Code != packet.Success {
				t.Errorf("with a disk again: %v", a)
			}
			t.Logf("%d of %d acknowledged", len(acked), waiting)
			r.signal(syscall.SIGKILL)
			r.end()
			r = start(t, config)
			kept(t, append(acked, waiting+1), collect(r, "absent", waiting+1))
			r.stop()
		})
	}
}
