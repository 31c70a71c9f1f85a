package broker_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// victim is a broker in a process of its own, to be killed. It prints its address.
func victim() {
	dir := os.Getenv("BROKER_TEST_DIR")
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	err := func() error {
		store, err := buffer.Open(filepath.Join(dir, "gateway.db"), storeConfig(), log)
		if err != nil {
			return err
		}
		b, err := broker.New(config(), store, log)
		if err != nil {
			return err
		}
		l := broker.ListenerConfig{Address: "tcp://127.0.0.1:0"}
		ln, err := broker.Listen(l)
		if err != nil {
			return err
		}
		fmt.Println(ln.Addr())
		go b.Run(context.Background())
		return b.Serve(context.Background(), ln, l)
	}()
	fmt.Fprintln(os.Stderr, "victim:", err)
	os.Exit(1)
}

func startVictim(t *testing.T, dir string) (addr string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "BROKER_TEST_ROLE=victim", "BROKER_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the victim did not start: %v", err)
	}
	return line[:len(line)-1], func() {
		_ = cmd.Process.Kill() // SIGKILL, and only this process
		_ = cmd.Wait()
	}
}

// peer is a client that keeps its session across connections, as the standard
// wants it from both sides.
type peer struct {
	addr func() string
	id   string
	nc   net.Conn
	dec  packet.Decoder
	buf  []byte
}

func (p *peer) connect() error {
	nc, err := net.Dial("tcp", p.addr())
	if err != nil {
		return err
	}
	p.nc, p.buf, p.dec = nc, nil, packet.Decoder{Role: packet.Client, Version: packet.V311}
	if err := p.send(&packet.Connect{ClientID: p.id}); err != nil {
		return err
	}
	_, err = p.next()
	return err
}

func (p *peer) send(q packet.Packet) error {
	_, err := p.nc.Write(q.Append(nil, packet.V311))
	return err
}

func (p *peer) next() (packet.Packet, error) {
	for {
		q, n, _, err := p.dec.Next(p.buf)
		if err != nil {
			return nil, err
		}
		if q != nil {
			p.buf = p.buf[n:]
			return q, nil
		}
		if err := p.nc.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			return nil, err
		}
		more := make([]byte, 32<<10)
		n, err = p.nc.Read(more)
		if n == 0 && err != nil {
			return nil, err
		}
		p.buf = append(p.buf, more[:n]...)
	}
}

// again calls fn on new connections until it has no network error.
func (p *peer) again(ctx context.Context, fn func() error) error {
	for {
		err := p.connect()
		if err == nil {
			err = fn()
		}
		if p.nc != nil {
			p.nc.Close()
		}
		var netErr net.Error
		timeout := errors.As(err, &netErr) && netErr.Timeout()
		if err == nil || timeout {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond): // the victim is starting
		}
	}
}

// publishAll publishes numbers from 1 to n at one QoS with a window of 20.
func (p *peer) publishAll(ctx context.Context, qos packet.QoS, n int, progress *atomic.Int64) error {
	type flight struct {
		seq      int
		released bool
	}
	var open []*flight
	next, resent := 1, 0
	m := func(f *flight, dup bool) packet.Packet {
		if f.released {
			return &packet.Ack{Kind: packet.PUBREL, ID: uint16(f.seq)}
		}
		return &packet.Publish{Topic: []byte("t/" + p.id), Payload: binary.BigEndian.AppendUint32(nil, uint32(f.seq)), QoS: qos, ID: uint16(f.seq), DUP: dup}
	}
	return p.again(ctx, func() error {
		resent += len(open)
		for _, f := range open {
			if err := p.send(m(f, true)); err != nil {
				return err
			}
		}
		for next <= n || len(open) > 0 {
			for next <= n && len(open) < 20 {
				f := &flight{seq: next}
				next++
				open = append(open, f)
				if err := p.send(m(f, false)); err != nil {
					return err
				}
			}
			q, err := p.next()
			if err != nil {
				return err
			}
			a, ok := q.(*packet.Ack)
			if !ok {
				return fmt.Errorf("publisher received %v", q.Type())
			}
			for i, f := range open {
				if uint16(f.seq) != a.ID {
					continue
				}
				if a.Kind == packet.PUBREC {
					f.released = true
					if err := p.send(m(f, false)); err != nil {
						return err
					}
				} else {
					open = append(open[:i], open[i+1:]...)
					progress.Add(1)
				}
				break
			}
		}
		return nil
	})
}

// receiveAll receives until every publisher's last number has come.
func (p *peer) receiveAll(ctx context.Context, n, publishers int, got map[string][]int) error {
	known := make(map[uint16]bool) // QoS 2 identifiers between PUBLISH and PUBREL
	subscribed, ended := false, make(map[string]bool)
	return p.again(ctx, func() error {
		if !subscribed {
			if err := p.send(&packet.Subscribe{ID: 65001, Subscriptions: []packet.Subscription{{Filter: "t/#", QoS: 2}}}); err != nil {
				return err
			}
		}
		for len(ended) < publishers {
			q, err := p.next()
			if err != nil {
				return err
			}
			switch q := q.(type) {
			case *packet.Suback:
				subscribed = true
			case *packet.Publish:
				if q.QoS != 2 || !known[q.ID] {
					seq := int(binary.BigEndian.Uint32(q.Payload))
					from := string(q.Topic)
					if seq == n {
						ended[from] = true
					}
					got[from] = append(got[from], seq)
				}
				answer := packet.PUBACK
				if q.QoS == 2 {
					known[q.ID] = true
					answer = packet.PUBREC
				}
				if err := p.send(&packet.Ack{Kind: answer, ID: q.ID}); err != nil {
					return err
				}
			case *packet.Ack: // PUBREL
				delete(known, q.ID)
				if err := p.send(&packet.Ack{Kind: packet.PUBCOMP, ID: q.ID}); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Two publishers and a subscriber with sessions, and a broker that is killed again
// and again: at QoS 1 nothing is lost, at QoS 2 nothing comes twice either, and
// first arrivals are in order.
func TestSessionsSurviveKill(t *testing.T) {
	const n, kills = 2000, 5
	dir := t.TempDir()
	var addr atomic.Value
	a, kill := startVictim(t, dir)
	addr.Store(a)
	defer func() { kill() }()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	where := func() string { return addr.Load().(string) }

	sub := &peer{addr: where, id: "sub"}
	if err := sub.connect(); err != nil { // the session has to be there before the first message
		t.Fatal(err)
	}
	if err := sub.send(&packet.Subscribe{ID: 65001, Subscriptions: []packet.Subscription{{Filter: "t/#", QoS: 2}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.next(); err != nil {
		t.Fatal(err)
	}
	sub.nc.Close()

	var progress atomic.Int64
	errs := make(chan error, 3)
	got := make(map[string][]int)
	go func() { errs <- sub.receiveAll(ctx, n, 2, got) }()
	for qos := packet.QoS1; qos <= packet.QoS2; qos++ {
		p := &peer{addr: where, id: fmt.Sprint("pub", qos)}
		go func() { errs <- p.publishAll(ctx, qos, n, &progress) }()
	}
	for i := range kills {
		for progress.Load() < int64((i+1)*2*n/(kills+1)) && ctx.Err() == nil {
			time.Sleep(time.Millisecond) // to strike at a certain progress
		}
		kill()
		a, kill = startVictim(t, dir)
		addr.Store(a)
	}
	for range 3 {
		if err := <-errs; err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("after %d acknowledged messages: %v", progress.Load(), err)
		}
	}
	for qos := 1; qos <= 2; qos++ {
		list := got[fmt.Sprint("t/pub", qos)]
		seen := make(map[int]bool)
		high, repeats := 0, 0
		for _, seq := range list {
			if seen[seq] {
				repeats++
				continue
			}
			seen[seq] = true
			if seq < high {
				t.Errorf("QoS %d: %d came first after %d", qos, seq, high)
			}
			high = seq
		}
		if len(seen) != n {
			t.Errorf("QoS %d: %d of %d messages arrived", qos, len(seen), n)
		}
		if qos == 2 && repeats > 0 {
			t.Errorf("QoS 2: %d messages came twice", repeats)
		}
		t.Logf("QoS %d: %d messages, %d repeated", qos, len(seen), repeats)
	}
}
