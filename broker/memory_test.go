package broker_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// An idle connection with a session and a subscription, of which an operation is
// one. The clients are bare sockets in this process, whose cost is taken off.
func BenchmarkIdleConnection(b *testing.B) {
	cfg := config()
	cfg.MaxConnections = b.N + 200
	h := open(b, b.TempDir(), cfg)
	dialIdle(b, h.addr, 0, 100) // what is there once is not counted
	before, client := inUse(), clientCost(b)
	b.ResetTimer()
	dialIdle(b, h.addr, 100, b.N)
	b.StopTimer()
	b.ReportMetric(float64(inUse()-before)/float64(b.N)-client, "B/conn")
}

// dialIdle opens connections, numbered from a number on, that subscribe and keep
// still until the end.
func dialIdle(tb testing.TB, addr string, from, count int) {
	for i := from; i < from+count; i++ {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { nc.Close() })
		brokertest.Over(tb, nc, packet.V311).
			Send(&packet.Connect{ClientID: fmt.Sprintf("sensor-%05d", i), CleanStart: true, KeepAlive: 60}).Expect(&packet.Connack{}).
			Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: fmt.Sprintf("site/%05d/set", i), QoS: 1}}}).
			Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{1}})
	}
}

// The same over WebSocket, where a connection keeps a buffer to read frames
// through.
func BenchmarkIdleWebSocket(b *testing.B) {
	cfg := config()
	cfg.MaxConnections = b.N + 200
	h := open(b, b.TempDir(), cfg)
	addr := h.web(broker.ListenerConfig{})
	conns := make([]net.Conn, 0, b.N+100)
	const suback = "\x90\x03\x00\x01\x01"
	dial := func(count int) {
		for range count {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			conns = append(conns, nc)
			hello := packet.Connect{ClientID: fmt.Sprintf("sensor-%05d", len(conns)), CleanStart: true, KeepAlive: 60}
			subscribe := packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: fmt.Sprintf("site/%05d/set", len(conns)), QoS: 1}}}
			sent := handshake(addr) + string(frame(binaryFrame, hello.Append(nil, packet.V311))) + string(frame(binaryFrame, subscribe.Append(nil, packet.V311)))
			if _, err := io.WriteString(nc, sent); err != nil {
				b.Fatal(err)
			}
			var got []byte
			for more := make([]byte, 512); !strings.HasSuffix(string(got), suback); {
				n, err := nc.Read(more)
				if err != nil {
					b.Fatalf("%v after %q", err, got)
				}
				got = append(got, more[:n]...)
			}
		}
	}
	dial(100)
	before, client := inUse(), clientCost(b)
	b.ResetTimer()
	dial(b.N)
	b.StopTimer()
	b.ReportMetric(float64(inUse()-before)/float64(b.N)-client, "B/conn")
	for _, nc := range conns {
		nc.Close()
	}
}

// clientCost is what the client's own side of a connection takes.
func clientCost(b *testing.B) float64 {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	const n = 200
	var keep []net.Conn
	before := inUse()
	for range n {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		keep = append(keep, nc)
	}
	cost := float64(inUse()-before) / n
	for _, nc := range keep {
		nc.Close()
	}
	return cost
}

// inUse is what heap and stacks take.
func inUse() uint64 {
	for range 4 { // each halves the stacks that are too large
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
