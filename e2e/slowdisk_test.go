package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/internal/need"
)

// Each fsync takes 5 s. Publishers of QoS 1 wait for their acknowledgements, and get
// them; messages of QoS 0 and PINGRESP do not wait, memory stays bounded, and when
// the link is back everything arrives. Part of scripts/wear.sh.
func TestLifeGoesOnWhileEachFsyncTakesFiveSeconds(t *testing.T) {
	if *wearTime == 0 {
		t.Skip("takes two minutes: scripts/wear.sh runs it")
	}
	need.Program(t, "mosquitto")
	need.Program(t, "strace")
	cloud := startMosquitto(t)
	way := startFar(t, cloud.addr, 0, 0)
	way.cut()
	g := startMeasured(t, way.addr, "", 5*time.Second)

	arrivals := newReceiver(cloud.addr, lasting(packet.V311, "consumer"), "acme/load/#")
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { arrivals.run(ctx) })
	<-arrivals.subscribed

	var publishing sync.WaitGroup
	var streams []*stream
	for i := range 10 {
		s := &stream{flow: flow{qos: 1, rate: 10}, addr: g.addr, name: fmt.Sprintf("sensor-%02d", i)}
		streams = append(streams, s)
		publishing.Go(func() {
			if err := s.run(ctx, 600); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		})
	}
	echo, ping, rss := time.Duration(0), time.Duration(0), int64(0)
	c, _, err := dialAs(g.addr, packet.Connect{Version: packet.V311, ClientID: "echo", CleanStart: true, KeepAlive: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func(p packet.Packet, answer packet.Type) time.Duration {
		began := time.Now()
		if err := c.send(p); err != nil {
			t.Fatal(err)
		}
		for {
			got, err := c.read()
			if err != nil {
				t.Fatal(err)
			}
			if got.Type() == answer {
				return time.Since(began)
			}
		}
	}
	ask(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "life", QoS: packet.QoS0}}}, packet.SUBACK)
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(100 * time.Millisecond) {
		echo = max(echo, ask(&packet.Publish{Topic: []byte("life"), Payload: []byte("here")}, packet.PUBLISH))
		ping = max(ping, ask(&packet.Pingreq{}, packet.PINGRESP))
		rss = max(rss, g.read().rss)
	}
	publishing.Wait()
	sent, slowest := int64(0), time.Duration(0)
	for _, s := range streams {
		sent += s.acked.Load()
		slowest = max(slowest, time.Duration(s.slowest.Load()))
	}
	way.mend()
	arrived := arrivals.wait(int(sent), 5*time.Minute) // some hundred messages with each commit
	arrivals.mu.Lock()
	defer arrivals.mu.Unlock()
	t.Logf("|fsync +5s: %d messages of QoS 1 acknowledged, the slowest after %.1f s; %d arrived; at QoS 0 the slowest took %.1f ms, PINGRESP %.1f ms; RSS at most %.1f MB",
		sent, slowest.Seconds(), arrivals.distinct, ms(echo), ms(ping), mb(rss))
	if !arrived || sent != 6000 {
		t.Errorf("%d of %d arrived, want 6000", arrivals.distinct, sent)
	}
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }
