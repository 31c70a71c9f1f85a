package broker_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// [MQTT-3.1.2-22] [v3 MQTT-3.1.2-24]
func TestSilenceForOneAndAHalfTimesTheKeepAliveEndsTheConnection(t *testing.T) {
	for _, v := range versions {
		for _, keepAlive := range []uint16{1, 7, 60, 65535} {
			t.Run(fmt.Sprint("MQTT ", v, ", ", keepAlive, " s"), func(t *testing.T) {
				timed(t, config(), func(t *testing.T, h *house) {
					w := connect(t, h, packet.V5, "watch", true)
					subscribe(t, w, "will", 0)
					start := time.Now()
					c, _ := h.join(t, v, &packet.Connect{ClientID: "c", CleanStart: true, KeepAlive: keepAlive,
						Will: &packet.Will{Topic: "will", Payload: []byte("silent")}})
					c.ExpectClosed(packet.KeepAliveTimeout)
					passed(t, start, time.Duration(keepAlive)*1500*time.Millisecond)
					w.Expect(message("will", "silent", 0)) // as if the network had failed
					passed(t, start, time.Duration(keepAlive)*1500*time.Millisecond)
				})
			})
		}
	}
}

func TestKeepAlive0NeverEndsTheConnection(t *testing.T) {
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			timed(t, config(), func(t *testing.T, h *house) {
				c, _ := h.join(t, v, &packet.Connect{ClientID: "c", CleanStart: true})
				time.Sleep(30 * time.Hour) // more than the longest keep alive, of 27.3 h
				c.ExpectNothing()
			})
		})
	}
}

// Any packet of the client counts, from its last byte on.
func TestWhoIsHeardStays(t *testing.T) {
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			timed(t, config(), func(t *testing.T, h *house) {
				other := connect(t, h, packet.V311, "other", true)
				c, _ := h.join(t, v, &packet.Connect{ClientID: "c", CleanStart: true, KeepAlive: 10})
				const almost = 15*time.Second - time.Millisecond
				var start time.Time
				heard := func() { start = time.Now() }
				for range 3 {
					heard()
					c.ExpectNothing()
					sleepUntil(start, almost)
				}
				heard()
				subscribe(t, c, "t", 1)
				sleepUntil(start, almost)
				heard()
				c.Send(message("x", "y", 0))
				sleepUntil(start, almost-10*time.Second)
				publishAt(other, message("t", "x", 1)) // what the broker sends does not count
				c.Expect(message("t", "x", 1))
				sleepUntil(start, almost)
				heard()
				c.Send(ack(packet.PUBACK, c.IDs()[0]))
				sleepUntil(start, almost)
				heard()
				c.Send(&packet.Pingreq{}).Expect(&packet.Pingresp{})
				sleepUntil(start, 14*time.Second)
				c.SendBytes([]byte{0x30}) // the beginning of a packet is none
				c.ExpectClosed(packet.KeepAliveTimeout)
				passed(t, start, 15*time.Second)
			})
		})
	}
}

func TestWhatTheBrokerSendsKeepsNobodyAlive(t *testing.T) {
	timed(t, config(), func(t *testing.T, h *house) {
		pub := connect(t, h, packet.V311, "pub", true)
		c, _ := h.join(t, packet.V311, &packet.Connect{ClientID: "c", CleanStart: true, KeepAlive: 4})
		start := time.Now()
		subscribe(t, c, "t", 0)
		for range 5 {
			time.Sleep(time.Second)
			pub.Send(message("t", "x", 0))
			c.Expect(message("t", "x", 0))
		}
		c.ExpectClosed()
		passed(t, start, 6*time.Second)
	})
}

// The server's keep alive counts [MQTT-3.2.2-21] [MQTT-3.2.2-22]; that of MQTT 3.x,
// whose clients can not be told of another one, does not end with it.
func TestServerKeepAlive(t *testing.T) {
	cfg := config()
	cfg.MaxKeepAlive = 20 * time.Second
	for _, c := range []struct {
		version    packet.Version
		asked, got uint16 // got 0: not told another
		ends       time.Duration
	}{
		{packet.V5, 0, 20, 30 * time.Second},
		{packet.V5, 60, 20, 30 * time.Second},
		{packet.V5, 20, 0, 30 * time.Second},
		{packet.V5, 8, 0, 12 * time.Second},
		{packet.V311, 60, 0, 90 * time.Second},
		{packet.V31, 60, 0, 90 * time.Second},
	} {
		t.Run(fmt.Sprint("MQTT ", c.version, " asks for ", c.asked), func(t *testing.T) {
			timed(t, cfg, func(t *testing.T, h *house) {
				start := time.Now()
				client, a := h.join(t, c.version, &packet.Connect{ClientID: "c", CleanStart: true, KeepAlive: c.asked})
				var got uint16
				if a.ServerKeepAlive != nil {
					got = *a.ServerKeepAlive
				}
				if got != c.got {
					t.Errorf("it is told %d, want %d", got, c.got)
				}
				client.ExpectClosed(packet.KeepAliveTimeout)
				passed(t, start, c.ends)
			})
		})
	}
}

func TestPingsOfTheSocketAreNotKeepAlive(t *testing.T) {
	timed(t, config(), func(t *testing.T, h *house) {
		s := socketOver(t, h.timedWeb(broker.ListenerConfig{}).dial(t))
		s.send(frame(binaryFrame, (&packet.Connect{ClientID: "w", CleanStart: true, KeepAlive: 10}).Append(nil, packet.V5)))
		s.receive()
		var start time.Time
		for range 2 {
			time.Sleep(14 * time.Second)
			start = time.Now()
			s.send(frame(binaryFrame, []byte{0xc0, 0})).expect(binaryFrame, []byte{0xd0, 0})
		}
		time.Sleep(10 * time.Second)
		s.send(frame(ping, nil)).expect(pong, nil)
		over := &packet.Disconnect{Code: packet.KeepAliveTimeout, Info: packet.Info{ReasonString: "nothing heard for one and a half times the keep alive"}}
		s.expect(binaryFrame, over.Append(nil, packet.V5))
		passed(t, start, 15*time.Second)
		s.expectClosed(1008)
	})
}

// A connection has connect_timeout for its CONNECT, and for the upgrade before it,
// and can not make it longer by bytes.
func TestNoConnectInTimeEndsTheConnection(t *testing.T) {
	whole := handshake("gateway:9001")
	hello := string((&packet.Connect{ClientID: "c", CleanStart: true}).Append(nil, packet.V311))
	cfg := config()
	cfg.ConnectTimeout = broker.DefaultConfig().ConnectTimeout
	for _, c := range []struct {
		name    string
		address string // of the listener
		own     time.Duration
		sent    string
		want    time.Duration
	}{
		{"nothing", "tcp://", 0, "", 10 * time.Second},
		{"nothing, a listener with less", "tcp://", 2 * time.Second, "", 2 * time.Second},
		{"half of CONNECT", "tcp://", 0, hello[:len(hello)-5], 10 * time.Second},
		{"no request", "ws://", 0, "", 10 * time.Second},
		{"half a request", "ws://", 3 * time.Second, whole[:len(whole)/2], 3 * time.Second},
		{"no CONNECT after the upgrade", "ws://", 0, whole, 10 * time.Second},
		{"half a frame", "ws://", 0, whole + string(frame(binaryFrame, []byte(hello))[:9]), 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			timed(t, cfg, func(t *testing.T, h *house) {
				ln := newPipes()
				h.serveOn(ln, broker.ListenerConfig{Address: c.address + "127.0.0.1:0", ConnectTimeout: c.own})
				start := time.Now()
				nc := ln.dial(t)
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_, _ = io.Copy(io.Discard, nc) // until its end
				}()
				for i := range len(c.sent) {
					time.Sleep(time.Second / 100)
					if _, err := io.WriteString(nc, c.sent[i:i+1]); err != nil {
						t.Fatalf("byte %d: %v", i, err)
					}
				}
				<-ended
				passed(t, start, c.want)
			})
		})
	}
}

// Beyond max_connections the time for CONNECT is two seconds, and then the places
// of those who say nothing are free for others to be told.
func TestSilentConnectionsBeyondTheLimitEndSoon(t *testing.T) {
	cfg := config()
	cfg.MaxConnections = 1
	timed(t, cfg, func(t *testing.T, h *house) {
		connect(t, h, packet.V311, "a", true)
		start := time.Now()
		var silent []*brokertest.Client
		for range 16 {
			silent = append(silent, h.dial(t, packet.V311))
		}
		h.dial(t, packet.V311).ExpectClosed() // without a word
		passed(t, start, 0)
		for _, c := range silent {
			c.ExpectClosed()
		}
		passed(t, start, 2*time.Second)
		h.dial(t, packet.V311).Send(&packet.Connect{ClientID: "c", CleanStart: true}).Expect(&packet.Connack{Code: packet.ServerUnavailable})
	})
}

// Who does not read what it is told gets a second, and then its connection ends:
// nothing holds a broker up that stops.
func TestWhoDoesNotReadHoldsTheStopUpForASecond(t *testing.T) {
	timed(t, config(), func(t *testing.T, h *house) {
		c := connect(t, h, packet.V5, "c", true)
		start := time.Now()
		h.stop()
		passed(t, start, time.Second)
		c.ExpectClosed()
	})
}

// timedWeb opens a WebSocket listener of pipes.
func (h *house) timedWeb(l broker.ListenerConfig) *pipes {
	l.Address = "ws://127.0.0.1:0"
	ln := newPipes()
	h.serveOn(ln, l)
	return ln
}

// socketOver upgrades a connection.
func socketOver(t *testing.T, nc net.Conn) *socket {
	t.Helper()
	if _, err := io.WriteString(nc, handshake("gateway:9001")); err != nil {
		t.Fatal(err)
	}
	answer, _, s := upgraded(t, nc)
	if answer.StatusCode != 101 {
		t.Fatalf("the upgrade is refused with %s", answer.Status)
	}
	return s
}
