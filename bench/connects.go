package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Connects is a run of clients that connect, wait for CONNACK and leave. It is
// plain data.
type Connects struct {
	Target    Target
	Parallel  int           // clients at a time, 1 to 10,000
	Count     int64         // connections in all; 0: no limit
	Duration  time.Duration // 0: no limit
	BrokerPID int           // see Messages
}

// ConnectsResult is what came of a run of Connects.
type ConnectsResult struct {
	Connects  int64         `json:"connects"`
	Took      time.Duration `json:"took_ns"`
	PerSecond float64       `json:"connects_per_second"`
	Latency   Latencies     `json:"latency"` // from the first SYN to CONNACK

	BrokerCPU time.Duration `json:"broker_cpu_per_message_ns,omitempty"` // of a connection
	Use       Uses          `json:"use"`
	Failures  []string      `json:"failures,omitempty"`
}

// Broken reports whether a connection has failed.
func (r *ConnectsResult) Broken() bool { return len(r.Failures) > 0 }

// Run connects until a limit is reached, a connection fails or ctx ends.
func (c Connects) Run(ctx context.Context) (*ConnectsResult, error) {
	if c.Parallel < 1 || c.Parallel > 10000 {
		return nil, errors.New("connections at a time must be 1 to 10,000")
	}
	if c.Count < 0 || c.Duration < 0 || c.Count == 0 && c.Duration == 0 {
		return nil, errors.New("a run needs a count or a duration, or it would never end")
	}
	meter, err := startMeter(c.BrokerPID)
	if err != nil {
		return nil, err
	}
	var (
		mu    sync.Mutex // guards what follows
		begun int64
		t     ConnectsResult
		times histogram
	)
	start := clock{time.Now()}
	more := func() (int64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if len(t.Failures) > 0 || c.Count > 0 && begun >= c.Count || c.Duration > 0 && start.now() >= int64(c.Duration) || ctx.Err() != nil {
			return 0, false
		}
		begun++
		return begun, true
	}
	prefix := newRun(&Messages{}, 0).plan.run
	var wg sync.WaitGroup
	for range c.Parallel {
		wg.Go(func() {
			for n, ok := more(); ok; n, ok = more() {
				took, err := c.Target.visit(ctx, fmt.Sprintf("bench-%s-%d", prefix, n))
				mu.Lock()
				if err != nil {
					t.Failures = append(t.Failures, err.Error())
				} else {
					t.Connects++
					times.add(int64(took))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Took = time.Duration(start.now())
	t.PerSecond, t.Latency = perSecond(t.Connects, t.Took), times.latencies()
	if t.Use, err = meter.stop(); err != nil {
		return nil, err
	}
	if t.Use.Broker != nil && t.Connects > 0 {
		t.BrokerCPU = t.Use.Broker.CPU / time.Duration(t.Connects)
	}
	if len(t.Failures) > 3 {
		t.Failures = t.Failures[:3]
	}
	return &t, ctx.Err()
}

// visit connects and leaves; took is the time to CONNACK.
func (t *Target) visit(ctx context.Context, id string) (took time.Duration, err error) {
	begun := time.Now()
	c, err := t.connect(ctx, id, false)
	if err != nil {
		return 0, err
	}
	took = time.Since(begun)
	c.nc.SetDeadline(time.Now().Add(patience))
	if _, err := c.nc.Write([]byte{0xe0, 0}); err != nil { // DISCONNECT
		c.nc.Close()
		return 0, fmt.Errorf("disconnect %s: %w", id, err)
	}
	// The broker closes after DISCONNECT (3.14.4). We close after it, with a
	// reset: no port is left in TIME_WAIT, of which a machine has only some 28,000.
	_, err = io.Copy(io.Discard, c.nc)
	if tcp, ok := c.nc.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.nc.Close()
	if err != nil && ctx.Err() == nil {
		return 0, fmt.Errorf("wait until the broker closes the connection of %s: %w", id, ended(err))
	}
	return took, nil
}
