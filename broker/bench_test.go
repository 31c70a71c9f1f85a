package broker_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// Benchmarks over loopback, with clients that do next to nothing: they count bytes
// instead of decoding packets. An operation is one message published; the figure
// per second counts messages delivered.

const benchPayload = 100

// benchClient connects and returns the socket.
func benchClient(b *testing.B, addr, id string) net.Conn {
	b.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { nc.Close() })
	brokertest.Over(b, nc, packet.V311).
		Send(&packet.Connect{ClientID: id, CleanStart: true}).Expect(&packet.Connack{})
	return nc
}

func benchSubscribe(b *testing.B, nc net.Conn, filter string, qos packet.QoS) {
	b.Helper()
	brokertest.Over(b, nc, packet.V311).
		Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: filter, QoS: qos}}}).
		Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{packet.ReasonCode(qos)}})
}

// sink reads count messages of a QoS and ends their handshakes.
func sink(nc net.Conn, size, count int, qos packet.QoS, done chan<- error) {
	done <- func() error {
		buf := make([]byte, 256<<10)
		var rest, out []byte
		for got := 0; got < count; {
			n, err := nc.Read(buf)
			if err != nil {
				return err
			}
			in := append(rest, buf[:n]...)
			out = out[:0]
			for len(in) >= 4 {
				switch in[0] >> 4 {
				case 3:
					if len(in) < size {
						goto wait
					}
					if qos > 0 {
						id := in[4+int(binary.BigEndian.Uint16(in[2:])):]
						out = append(out, byte(3+qos)<<4, 2, id[0], id[1])
					}
					if qos < 2 {
						got++
					}
					in = in[size:]
				case 6:
					out = append(out, 0x70, 2, in[2], in[3])
					in = in[4:]
					got++
				}
			}
		wait:
			rest = append(rest[:0], in...)
			if len(out) > 0 {
				if _, err := nc.Write(out); err != nil {
					return err
				}
			}
		}
		return nil
	}()
}

// source publishes count messages with a window of those that are not acknowledged.
func source(nc net.Conn, topic string, count int, qos packet.QoS, window int) error {
	m := &packet.Publish{Topic: []byte(topic), Payload: make([]byte, benchPayload), QoS: qos, ID: 1}
	if qos == 0 {
		m.ID = 0
	}
	one, idAt := m.AppendAt(nil, packet.V311)
	if qos == 0 { // no answers: as many as the socket takes, but not more than a slow reader may have outstanding
		const group = 64
		var many []byte
		for range group {
			many = append(many, one...)
		}
		for count > 0 {
			n := min(count, group)
			if _, err := nc.Write(many[:n*len(one)]); err != nil {
				return err
			}
			count -= n
		}
		return nil
	}
	buf := make([]byte, 64<<10)
	var out, rest []byte
	next, open, id := 0, 0, uint16(0)
	for done := 0; done < count; {
		for open < window && next < count {
			id = id%60000 + 1
			start := len(out)
			out = append(out, one...)
			packet.SetID(out[start:], idAt, id)
			next++
			open++
		}
		if len(out) > 0 {
			if _, err := nc.Write(out); err != nil {
				return err
			}
			out = out[:0]
		}
		n, err := nc.Read(buf)
		if err != nil {
			return err
		}
		in := append(rest, buf[:n]...)
		for ; len(in) >= 4; in = in[4:] {
			switch in[0] >> 4 {
			case 5:
				out = append(out, 0x62, 2, in[2], in[3])
			case 4, 7:
				done++
				open--
			}
		}
		rest = append(rest[:0], in...)
	}
	return nil
}

func BenchmarkOneToOne(b *testing.B) {
	for qos := packet.QoS0; qos <= packet.QoS2; qos++ {
		b.Run(fmt.Sprintf("QoS%d", qos), func(b *testing.B) { benchFan(b, qos, 1, "") })
	}
}

// The same with an access control list.
func BenchmarkOneToOneGuarded(b *testing.B) {
	const rules = "topic deny safe/#\ntopic read a/+\ntopic write b/+\ntopic bench/#\npattern own/%c/#\n"
	for qos := packet.QoS0; qos <= packet.QoS2; qos++ {
		b.Run(fmt.Sprintf("QoS%d", qos), func(b *testing.B) { benchFan(b, qos, 1, rules) })
	}
}

func BenchmarkOneToHundred(b *testing.B) {
	for _, qos := range []packet.QoS{0, 1} {
		b.Run(fmt.Sprintf("QoS%d", qos), func(b *testing.B) { benchFan(b, qos, 100, "") })
	}
}

// Of each message one of four members gets a copy.
func BenchmarkShared(b *testing.B) {
	h := open(b, b.TempDir(), config())
	for i := range 4 {
		nc := benchClient(b, h.addr, fmt.Sprint("sub", i))
		benchSubscribe(b, nc, "$share/g/bench/#", 0)
		go io.Copy(io.Discard, nc)
	}
	pub := benchClient(b, h.addr, "pub")
	b.ReportAllocs()
	b.ResetTimer()
	if err := source(pub, "bench/topic", b.N, 0, 0); err != nil {
		b.Fatal(err)
	}
	brokertest.Over(b, pub, packet.V311).ExpectNothing() // the broker has routed all when it answers
}

func benchFan(b *testing.B, qos packet.QoS, subscribers int, rules string) {
	cfg := config()
	cfg.MaxQueuedMessages, cfg.MaxQueuedBytes = 1<<20, 1<<30
	h := open(b, b.TempDir(), cfg)
	addr := h.addr
	if rules != "" {
		addr = h.serveMore(broker.ListenerConfig{Address: "tcp://127.0.0.1:0", ACLFile: rulesFile(b, rules)}).String()
	}
	m := &packet.Publish{Topic: []byte("bench/topic"), Payload: make([]byte, benchPayload), QoS: qos, ID: 1}
	size := m.Size(packet.V311)
	done := make(chan error, subscribers)
	for i := range subscribers {
		nc := benchClient(b, addr, fmt.Sprint("sub", i))
		benchSubscribe(b, nc, "bench/#", qos)
		if qos == 0 {
			go func() { _, err := io.Copy(io.Discard, nc); done <- err }()
		} else {
			go sink(nc, size, b.N, qos, done)
		}
	}
	pub := benchClient(b, addr, "pub")
	b.ReportAllocs()
	b.ResetTimer()
	if err := source(pub, "bench/topic", b.N, qos, 100); err != nil {
		b.Fatal(err)
	}
	if qos == 0 { // the broker has routed all when it answers
		brokertest.Over(b, pub, packet.V311).ExpectNothing()
	} else {
		for range subscribers {
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		}
	}
	b.StopTimer()
	st := h.Stats()
	delivered := float64(st.PublishSent)
	b.ReportMetric(delivered/b.Elapsed().Seconds(), "delivered/s")
	b.ReportMetric(100*float64(st.PublishDropped)/float64(b.N*subscribers), "%dropped")
	h.stop()
}

// A message to a session on disk whose receiver acknowledges at once, so that the
// disk has no part in it.
func BenchmarkDurableSession(b *testing.B) {
	h := open(b, b.TempDir(), config())
	s, err := h.Local("cloud/bench", broker.Rights{}).Session(buffer.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Subscribe("greenhouse/#", broker.SubscribeOptions{QoS: 1}); err != nil {
		b.Fatal(err)
	}
	q := s.Queue()
	c := h.store.Begin()
	c.Attach(q, buffer.Sync)
	c.Commit(nil)
	if err := h.store.Sync(b.Context()); err != nil {
		b.Fatal(err)
	}
	pub := h.Local("device", broker.Rights{})
	m := broker.Message{Topic: "greenhouse/boiler-room/temperature/state", Payload: make([]byte, 100), QoS: 1}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		r := pub.Publish(m)
		e, ok, err := q.Next()
		if err != nil || !ok {
			b.Fatal(ok, err)
		}
		if !q.Ack(e.Seq) {
			b.Fatal("not in the queue")
		}
		if err := r.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
