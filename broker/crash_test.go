package broker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
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

// mortal is a broker that is killed and started again over the same store, each
// time at an address of its own.
type mortal struct {
	t    *testing.T
	dir  string
	addr atomic.Value
	kill func()
}

func newMortal(t *testing.T) *mortal {
	m := &mortal{t: t, dir: t.TempDir()}
	m.start()
	t.Cleanup(func() { m.kill() })
	return m
}

func (m *mortal) start() {
	addr, kill := startVictim(m.t, m.dir)
	m.kill = kill
	m.addr.Store(addr)
}

func (m *mortal) where() string { return m.addr.Load().(string) }

// die kills the broker so many times, spread over the acknowledgement of total
// messages.
func (m *mortal) die(ctx context.Context, times, total int, acked *counter) {
	for i := range times {
		acked.reach(ctx, (i+1)*total/(times+1))
		m.kill()
		m.start()
	}
}

// Two publishers and a subscriber with sessions, and a broker that is killed again
// and again: at QoS 1 nothing is lost, at QoS 2 nothing comes twice either, and
// first arrivals are in order.
func TestSessionsSurviveKill(t *testing.T) {
	const n, kills = 2000, 5
	m := newMortal(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*brokertest.Patience)
	defer cancel()

	sub := &peer{addr: m.where, id: "sub"}
	sub.establish(t, "t/#")
	var acked counter
	errs := make(chan error, 3)
	got := make(map[string][]int)
	go func() { errs <- sub.receive(ctx, untilAll(n, 2, got)) }()
	for qos := packet.QoS1; qos <= packet.QoS2; qos++ {
		p := &peer{addr: m.where, id: fmt.Sprint("pub", qos)}
		go func() { errs <- p.publishAll(ctx, qos, n, &acked) }()
	}
	m.die(ctx, kills, 2*n, &acked)
	for range 3 {
		if err := <-errs; err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("after %d acknowledged messages: %v", acked.count(), err)
		}
	}
	for qos := 1; qos <= 2; qos++ {
		checkArrivals(t, qos, n, got[fmt.Sprint("t/pub", qos)])
	}
}
