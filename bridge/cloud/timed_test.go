package cloud_test

import (
	"context"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

// A bridge inside of synctest: time is virtual there, so hours of waiting cost
// nothing and every wait is the one that is meant. Connections are pipes.

// web is a network of scripted servers.
type web struct {
	t     *testing.T
	begin time.Time

	mu    sync.Mutex
	tries map[string][]time.Duration  // when a connection was asked for, by address
	serve map[string]func(p *peer)    // what a server does with one; none: nobody listens
	asked map[string][]packet.Connect // CONNECTs, by address
}

// timed runs fn in a bubble with a bridge that has the paces that are meant.
func timed(t *testing.T, servers []string, spoil func(*cloud.Config), fn func(w *web, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &web{
			t: t, begin: time.Now(), tries: map[string][]time.Duration{},
			serve: map[string]func(*peer){}, asked: map[string][]packet.Connect{},
		}
		cfg := testConfig(servers[0])
		cfg.Servers = servers
		cfg.Dial = w.dial
		if spoil != nil {
			spoil(&cfg)
		}
		r := newRig(t, cfg, func(b *cloud.Bridge) {
			b.SetPaces()
			b.SetReport(time.Minute)
		})
		fn(w, r)
		r.close()
	})
}

func (w *web) dial(_ context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries[address] = append(w.tries[address], time.Since(w.begin))
	serve := w.serve[address]
	if serve == nil {
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	here, there := net.Pipe()
	go func() {
		defer there.Close()
		serve(&peer{t: w.t, conn: there, forgives: true})
	}()
	return here, nil
}

// at sets what the server at an address does; nil: nobody listens.
func (w *web) at(address string, serve func(p *peer)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serve[address] = serve
}

// greet takes the CONNECT of a connection; false: none came, as from a probe.
func (w *web) greet(p *peer, address string) bool {
	pk, err := p.read(forever)
	c, ok := pk.(*packet.Connect)
	if err != nil || !ok {
		return false
	}
	w.mu.Lock()
	w.asked[address] = append(w.asked[address], *c)
	w.mu.Unlock()
	return true
}

func (w *web) tried(address string) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.tries[address])
}

func (w *web) connects(address string) []packet.Connect {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked[address])
}

// says answers every CONNECT and then does what else it is told to.
func (w *web) says(address string, answer *packet.Connack, then ...packet.Packet) func(*peer) {
	return func(p *peer) {
		if !w.greet(p, address) {
			return
		}
		for _, pk := range append([]packet.Packet{answer}, then...) {
			p.conn.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := p.conn.Write(pk.Append(nil, packet.V5)); err != nil {
				return
			}
		}
	}
}

// works is a server that takes all, for as long as the connection lasts. seen gets
// the messages.
func (w *web) works(address string, answer *packet.Connack, seen chan<- *packet.Publish) func(*peer) {
	return func(p *peer) {
		if w.greet(p, address) {
			p.send(answer)
			p.obey(seen)
		}
	}
}

const forever = 1000 * time.Hour

// obey acknowledges whatever comes, until the end.
func (p *peer) obey(seen chan<- *packet.Publish) {
	for {
		pk, err := p.read(forever)
		if err != nil {
			return
		}
		switch pk := pk.(type) {
		case *packet.Publish:
			if seen != nil {
				seen <- pk
			}
			switch pk.QoS {
			case 1:
				p.ack(packet.PUBACK, pk.ID)
			case 2:
				p.ack(packet.PUBREC, pk.ID)
			}
		case *packet.Ack:
			if pk.Kind == packet.PUBREL {
				p.ack(packet.PUBCOMP, pk.ID)
			}
		case *packet.Disconnect:
			return
		}
	}
}

// gaps are the waits between moments.
func gaps(at []time.Duration) (g []time.Duration) {
	for i := 1; i < len(at); i++ {
		g = append(g, at[i]-at[i-1])
	}
	return g
}

// pass lets time go by, and all that is to be done by then be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
