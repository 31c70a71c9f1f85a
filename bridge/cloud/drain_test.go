package cloud_test

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker"
	"edgegateway/buffer"
)

// drain measures how fast a backlog leaves, from the start of Run to the last
// acknowledgement: -benchtime 100000x says how long the backlog is.
func drain(b *testing.B, address string, qos byte) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	st, err := buffer.Open(filepath.Join(b.TempDir(), "store"), buffer.DefaultConfig(), log)
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	bc := broker.DefaultConfig()
	bc.Listeners = nil
	br, err := broker.New(bc, st, log)
	if err != nil {
		b.Fatal(err)
	}
	cfg := testConfig("mqtt://" + address)
	bridge, err := cloud.New(cfg, cloud.Env{ID: "g", Prefix: "g", DataDir: b.TempDir()}, br, st, log)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	payload := []byte(strings.Repeat("x", 100))
	publisher := br.Local("bench", broker.Rights{})
	for i := range b.N {
		receipt := publisher.Publish(broker.Message{Topic: "g/bench/state", Payload: payload, QoS: qos})
		if i%1000 == 999 {
			if err := receipt.Wait(ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := st.Sync(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	done := make(chan error)
	go func() { done <- bridge.Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for bridge.Status().Queued > 0 {
		<-tick.C
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "msgs/s")
	b.StopTimer()
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}
