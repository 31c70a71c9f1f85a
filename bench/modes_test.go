package bench_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"edgegateway/bench"
	"edgegateway/broker/packet"
	"edgegateway/internal/need"
)

func tcp(addr string, v packet.Version) bench.Target {
	return bench.Target{Version: v, Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func TestTheSinkTakesAll(t *testing.T) {
	var sink bench.Sink
	ln := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- sink.Serve(ctx, ln) }()
	sent := int64(0)
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		for qos := range packet.QoS2 + 1 {
			m := small(tcp(ln.Addr().String(), v), qos, 100_000)
			m.Publishers, m.Subscribers, m.Window = 3, 0, 1000
			r := run(t, m)
			sent += r.Sent
			if r.Sent != 100_000 || sink.Received() != sent || r.Broken() {
				t.Errorf("%v QoS %d: %+v; the sink has %d of %d", v, qos, r, sink.Received(), sent)
			}
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// BenchmarkGenerator is the limit of the generator: a message of 100 bytes to a
// sink in the same process.
func BenchmarkGenerator(b *testing.B) {
	for qos := range packet.QoS2 + 1 {
		b.Run(fmt.Sprintf("QoS%d", qos), func(b *testing.B) {
			var sink bench.Sink
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			go sink.Serve(b.Context(), ln)
			m := small(tcp(ln.Addr().String(), packet.V311), qos, int64(b.N))
			m.Subscribers, m.Window = 0, 1000
			b.ResetTimer()
			if r, err := m.Run(b.Context()); err != nil || r.Broken() {
				b.Fatal(r, err)
			}
		})
	}
}

// mosquitto starts a real broker and returns its address and process.
func mosquitto(t *testing.T) (addr string, pid int) {
	t.Helper()
	program := need.Program(t, "mosquitto")
	socket := filepath.Join(t.TempDir(), "s") // no port that another could take first
	conf := filepath.Join(t.TempDir(), "conf")
	text := "user root\nlistener 0 " + socket + "\nallow_anonymous true\npersistence false\nmax_queued_messages 0\nmax_inflight_messages 1000\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, "-c", conf)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	for deadline := time.Now().Add(need.Patience); ; { // it tells nobody when it is ready
		nc, err := net.Dial("unix", socket)
		if err == nil {
			nc.Close()
			return socket, c.Process.Pid
		}
		if time.Now().After(deadline) {
			t.Fatalf("mosquitto does not listen: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestAllModesAgainstMosquitto has the generator measured by somebody else's broker.
func TestAllModesAgainstMosquitto(t *testing.T) {
	socket, pid := mosquitto(t)
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		target := bench.Target{Version: v, Dial: func(ctx context.Context) (net.Conn, error) {
			for {
				nc, err := new(net.Dialer).DialContext(ctx, "unix", socket)
				if !errors.Is(err, syscall.EAGAIN) { // its queue of new connections is full: unix(7)
					return nc, err
				}
				time.Sleep(time.Millisecond)
			}
		}}
		for qos := range packet.QoS2 + 1 {
			m := small(target, qos, 3000)
			m.Publishers, m.Subscribers, m.Topics, m.BrokerPID, m.Retain = 3, 2, 7, pid, true
			r := run(t, m)
			if r.Delivered != 3000 || r.Lost != 0 || r.Broken() || r.Use.Broker == nil || r.Use.Broker.RSS == 0 {
				t.Errorf("%v QoS %d: %+v", v, qos, r)
			}

			values, err := bench.Retained{Target: target, Values: 2000, QoS: qos, Payload: 50, Window: 100}.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if values.Got != 2000 || values.Broken() || values.Took <= 0 {
				t.Errorf("%v QoS %d: %+v", v, qos, values)
			}
		}

		visits, err := bench.Connects{Target: target, Parallel: 5, Count: 200, BrokerPID: pid}.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if visits.Connects != 200 || visits.Latency.Count != 200 || visits.Broken() {
			t.Errorf("%v: %+v", v, visits)
		}

		for _, persistent := range []bool{false, true} {
			idle, err := bench.Idle{Target: target, Connections: 150, Persistent: persistent, QoS: 1, BrokerPID: pid}.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if idle.Alive != 150 || idle.Broken() || idle.After == 0 {
				t.Errorf("%v: %+v", v, idle)
			}
		}
	}
	// What the runs have stored is gone: a stray retained value would be a stray here.
	left, err := retainedLeft(t, socket)
	if err != nil || left != 0 {
		t.Errorf("%d retained values are left, %v", left, err)
	}
}

// retainedLeft counts the retained messages below bench/.
func retainedLeft(t *testing.T, socket string) (n int, err error) {
	nc, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(need.Patience))
	out := (&packet.Connect{ClientID: "left", CleanStart: true}).Append(nil, packet.V311)
	out = (&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "bench/#"}}}).Append(out, packet.V311)
	out = (&packet.Pingreq{}).Append(out, packet.V311)
	if _, err := nc.Write(out); err != nil {
		return 0, err
	}
	d := packet.Decoder{Role: packet.Client, Version: packet.V311}
	var buf []byte
	chunk := make([]byte, 4096)
	for {
		p, used, _, err := d.Next(buf)
		if err != nil {
			return n, err
		}
		switch p.(type) {
		case *packet.Publish:
			n++
		case *packet.Pingresp:
			return n, nil
		case nil:
			got, err := nc.Read(chunk)
			if err != nil {
				return n, err
			}
			buf = append(buf, chunk[:got]...)
		}
		buf = buf[used:]
	}
}

func TestALostConnectionIsNoticed(t *testing.T) {
	ln := listen(t)
	go func() { // answers CONNECT and SUBSCRIBE, then hangs up on every second client
		for i := 0; ; i++ {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				buf := make([]byte, 1000)
				for _, answer := range [][]byte{{0x20, 2, 0, 0}, {0x90, 3, 0, 1, 0}, {0xd0, 0}} {
					if answer[0] == 0xd0 && i%2 == 1 {
						return
					}
					if _, err := nc.Read(buf); err != nil {
						return
					}
					nc.Write(answer)
				}
			}()
		}
	}()
	r, err := bench.Idle{Target: tcp(ln.Addr().String(), packet.V311), Connections: 20}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Alive != 10 || !r.Broken() {
		t.Errorf("%+v, want 10 alive", r)
	}
}

func TestARefusedConnectionIsSaid(t *testing.T) {
	ln := listen(t)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			nc.Read(make([]byte, 1000))
			nc.Write([]byte{0x20, 2, 0, 5}) // not authorized
			nc.Close()
		}
	}()
	target := tcp(ln.Addr().String(), packet.V311)
	if _, err := small(target, packet.QoS0, 10).Run(t.Context()); err == nil {
		t.Error("a run took place without a connection")
	}
	r, err := bench.Connects{Target: target, Parallel: 2, Count: 100}.Run(t.Context())
	if err != nil || !r.Broken() || r.Connects != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
