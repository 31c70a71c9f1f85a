package modbus_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/modbus"
	"edgegateway/drivers/modbus/modbustest"
)

// Two points of the same size that are read apart, so that the answer to one looks like
// the answer to the other.
const twoAlike = `points = [{ name = "a", address = 100 }, { name = "b", address = 200 }]`

func alike() *modbustest.Unit {
	return &modbustest.Unit{Holding: map[int]uint16{100: 1, 200: 2}}
}

// A unit that has become slow answers the repetition of a request with what it owed to the
// first one, and the next request with what it owed to the repetition.
func TestSecondAnswerToARepetitionIsNotTakenForTheNext(t *testing.T) {
	for _, latency := range []time.Duration{700 * time.Millisecond, 1100 * time.Millisecond, 1500 * time.Millisecond, 1900 * time.Millisecond, 2700 * time.Millisecond, 4 * time.Second} {
		for _, timeout := range []string{"300ms", "1s"} {
			synctest.Test(t, func(t *testing.T) {
				l := newLine(map[byte]*modbustest.Unit{1: alike()})
				var late sync.WaitGroup
				slow := false
				l.spoil = func(_, answer string) string {
					if !slow {
						return answer
					}
					late.Go(func() {
						time.Sleep(latency)
						l.Feed(answer)
					})
					return ""
				}
				dev := open(t, modbus.RTUKind(), onPort+"timeout = \""+timeout+"\"\n"+twoAlike, l.Ports())
				if got := sample(t, dev); got != "a=1 b=2" {
					t.Fatal(got)
				}
				slow = true
				for n := range 50 {
					r, err := dev.(drivers.Sampler).Sample(t.Context())
					for _, v := range r.Values {
						if v.V != map[string]any{"a": int64(1), "b": int64(2)}[v.Channel] {
							t.Errorf("timeout %s, answers after %v: sample %d: %v", timeout, latency, n, r.Values)
						}
					}
					if err != nil && !strings.HasPrefix(err.Error(), "no answer") {
						t.Error(err)
					}
					time.Sleep(time.Second)
				}
				late.Wait()
			})
		}
	}
}

// A converter hands a late answer to whoever is connected by then.
func TestLateAnswerOnANewConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	unit := alike()
	const latency = 700 * time.Millisecond
	var mu sync.Mutex
	var newest net.Conn
	slow := false
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			newest = conn
			mu.Unlock()
			go func() {
				defer conn.Close()
				for {
					frame := make([]byte, 8)
					if _, err := io.ReadFull(conn, frame); err != nil {
						return
					}
					answer := modbustest.Frame(1, unit.Answer(frame[1:6]))
					mu.Lock()
					wait := latency
					if !slow {
						wait = 0
					}
					mu.Unlock()
					time.AfterFunc(wait, func() {
						mu.Lock()
						defer mu.Unlock()
						newest.Write(answer)
					})
				}
			}()
		}
	}()
	dev := open(t, modbus.TCPKind(), fmt.Sprintf("address = %q\nframing = \"rtu\"\ntimeout = \"300ms\"\n", l.Addr())+twoAlike, drivers.Ports{})
	defer dev.Close()
	if got := sample(t, dev); got != "a=1 b=2" {
		t.Fatal(got)
	}
	mu.Lock()
	slow = true
	mu.Unlock()
	for range 3 {
		r, err := dev.(drivers.Sampler).Sample(t.Context())
		for _, v := range r.Values {
			if v.V != map[string]any{"a": int64(1), "b": int64(2)}[v.Channel] {
				t.Fatalf("%v, %v", r.Values, err)
			}
		}
	}
}

// A device that closes idle connections has not taken a command that was sent into one.
func TestCommandOnAConnectionThatWasClosed(t *testing.T) {
	for framing, serve := range map[string]func(net.Conn, *modbustest.Unit) int{
		"tcp": func(conn net.Conn, u *modbustest.Unit) int {
			request := make([]byte, 12)
			if _, err := io.ReadFull(conn, request); err != nil {
				return 0
			}
			answer := u.Answer(request[7:])
			conn.Write(append([]byte{request[0], request[1], 0, 0, 0, byte(len(answer) + 1), 1}, answer...))
			return 1
		},
		"rtu": func(conn net.Conn, u *modbustest.Unit) int {
			request := make([]byte, 8)
			if _, err := io.ReadFull(conn, request); err != nil {
				return 0
			}
			conn.Write(modbustest.Frame(1, u.Answer(request[1:6])))
			return 1
		},
	} {
		t.Run(framing, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			unit := alike()
			closed := make(chan struct{}, 100)
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					serve(conn, unit) // one request on each connection
					conn.Close()
					closed <- struct{}{}
				}
			}()
			dev := open(t, modbus.TCPKind(), fmt.Sprintf("address = %q\nframing = %q\npoints = [{ name = \"a\", address = 100, writable = true, write_only = true }]", l.Addr(), framing), drivers.Ports{})
			defer dev.Close()
			for value := 5.0; value < 8; value++ {
				if got := actuate(t, dev, "a", value); got != "" {
					t.Fatalf("%v: %s", value, got)
				}
				<-closed
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
}
