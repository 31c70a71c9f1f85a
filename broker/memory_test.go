package broker_test

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// An idle connection with a session and a subscription costs little: 4 KiB of
// stack, and what is below the limit of heap. The clients
// are in another process' shoes: they are bare sockets, whose memory is not Go's.
func TestIdleConnectionIsSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: opens thousands of connections")
	}
	const n, limit = 2000, 13 << 9
	cfg := config()
	cfg.MaxConnections = n + 200
	h := open(t, t.TempDir(), cfg)
	conns := make([]net.Conn, 0, n)
	dial := func(count int) {
		for range count {
			nc, err := net.Dial("tcp", h.addr)
			if err != nil {
				if strings.Contains(err.Error(), "too many open files") {
					t.Skip("SKIPPED: ", err)
				}
				t.Fatal(err)
			}
			conns = append(conns, nc)
			brokertest.Over(t, nc, packet.V311).
				Send(&packet.Connect{ClientID: fmt.Sprintf("sensor-%05d", len(conns)), CleanStart: true, KeepAlive: 60}).Expect(&packet.Connack{}).
				Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: fmt.Sprintf("site/%05d/set", len(conns)), QoS: 1}}}).
				Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{1}})
		}
	}
	dial(100)
	before, client := inUse(), clientCost(t)
	dial(n)
	perConn := int64(inUse()-before)/n - client
	t.Logf("%d bytes per idle connection, without %d bytes of its client in this process", perConn, client)
	if perConn > limit && os.Getenv("GORACE") == "" {
		t.Errorf("%d bytes per idle connection, want at most %d", perConn, limit)
	}
	for _, nc := range conns {
		nc.Close()
	}
}

// clientCost is what the clients' own side of a connection takes.
func clientCost(t *testing.T) int64 {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const n = 200
	var keep []net.Conn
	before := inUse()
	for range n {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		keep = append(keep, nc)
	}
	cost := int64(inUse()-before) / n
	for _, nc := range keep {
		nc.Close()
	}
	return cost
}

// inUse is memory of heap and stacks.
func inUse() uint64 {
	for range 4 { // each halves the stacks that are too large
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
