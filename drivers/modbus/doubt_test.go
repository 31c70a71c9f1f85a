package modbus_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/modbus"
	"edgegateway/drivers/modbus/modbustest"
	"edgegateway/drivers/serial/serialtest"
)

// Two points of the same size that are read apart, so that the answer to one looks like
// the answer to the other.
const twoAlike = `points = [{ name = "a", address = 100 }, { name = "b", address = 200 }]`

func alike() *modbustest.Unit {
	return &modbustest.Unit{Holding: map[int]uint16{100: 1, 200: 2}}
}

// delayed makes the answers of unit 1 come later and noise at once, once slow is set.
func delayed(l *line, latency time.Duration, noise string, slow *atomic.Bool, late *sync.WaitGroup) {
	l.spoil = func(sent, answer string) string {
		if !slow.Load() || sent[0] != 1 {
			return answer
		}
		late.Go(func() {
			time.Sleep(latency)
			l.Feed(answer)
		})
		return noise
	}
}

// wrongly tells which values of a reading are not those of their own points.
func wrongly(values []drivers.Value) (wrong []drivers.Value) {
	for _, v := range values {
		if v.V != map[string]any{"a": int64(1), "b": int64(2)}[v.Channel] {
			wrong = append(wrong, v)
		}
	}
	return wrong
}

// A unit that has become slow answers the repetition of a request with what it owed to the
// first one, and the next request with what it owed to the repetition. Noise on the line
// does not change that.
func TestSecondAnswerToARepetitionIsNotTakenForTheNext(t *testing.T) {
	for _, latency := range []time.Duration{400 * time.Millisecond, 700 * time.Millisecond, 1100 * time.Millisecond, 1500 * time.Millisecond, 1900 * time.Millisecond, 2700 * time.Millisecond, 4 * time.Second} {
		for _, timeout := range []string{"300ms", "1s"} {
			for _, noise := range []string{"", "\x00", "\x01\x03 with a wrong CRC"} {
				synctest.Test(t, func(t *testing.T) {
					l := newLine(map[byte]*modbustest.Unit{1: alike()})
					var late sync.WaitGroup
					var slow atomic.Bool
					delayed(l, latency, noise, &slow, &late)
					dev := open(t, modbus.RTUKind(), onPort+"timeout = \""+timeout+"\"\n"+twoAlike, l.Ports())
					if got := sample(t, dev); got != "a=1 b=2" {
						t.Fatal(got)
					}
					slow.Store(true)
					for n := range 50 {
						r, err := dev.(drivers.Sampler).Sample(t.Context())
						if wrong := wrongly(r.Values); wrong != nil {
							t.Errorf("timeout %s, answers after %v, noise %q: sample %d: %v", timeout, latency, noise, n, wrong)
						}
						if err != nil && !strings.HasPrefix(err.Error(), "no answer") && !strings.HasPrefix(err.Error(), "the answer is damaged") {
							t.Error(err)
						}
						time.Sleep(time.Second)
					}
					late.Wait()
				})
			}
		}
	}
}

// The first request is sent when the line has been listened to for as long as an answer may
// take, and the time that its answer needs begins then.
func TestUnitThatIsSlowFromTheStart(t *testing.T) {
	for _, timeout := range []string{"1s", "3s", "4s"} {
		for latency := 100 * time.Millisecond; latency < 5*time.Second; latency += 50 * time.Millisecond {
			synctest.Test(t, func(t *testing.T) {
				l := newLine(map[byte]*modbustest.Unit{1: alike()})
				var late sync.WaitGroup
				var slow atomic.Bool
				slow.Store(true)
				delayed(l, latency, "", &slow, &late)
				dev := open(t, modbus.RTUKind(), onPort+"timeout = \""+timeout+"\"\n"+twoAlike, l.Ports())
				for n := range 20 {
					r, _ := dev.(drivers.Sampler).Sample(t.Context())
					if wrong := wrongly(r.Values); wrong != nil {
						t.Errorf("timeout %s, answers after %v: sample %d: %v", timeout, latency, n, wrong)
					}
					time.Sleep(100 * time.Millisecond)
				}
				late.Wait()
			})
		}
	}
}

// A reading that is given up in the middle leaves an answer behind, too.
func TestAnswerToAReadingThatWasGivenUp(t *testing.T) {
	for _, latency := range []time.Duration{500 * time.Millisecond, time.Second, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			l := newLine(map[byte]*modbustest.Unit{1: alike()})
			var late sync.WaitGroup
			var slow atomic.Bool
			slow.Store(true)
			delayed(l, latency, "", &slow, &late)
			dev := open(t, modbus.RTUKind(), onPort+"timeout = \"4s\"\n"+twoAlike, l.Ports())
			if got := sample(t, dev); got != "a=1 b=2" {
				t.Fatal(got)
			}
			ctx, cancel := context.WithTimeout(t.Context(), latency/2)
			defer cancel()
			if _, err := dev.(drivers.Sampler).Sample(ctx); err == nil {
				t.Error("a reading in half of the time")
			}
			for range 3 {
				if got := sample(t, dev); got != "a=1 b=2" {
					t.Errorf("answers after %v: %s", latency, got)
				}
			}
			late.Wait()
		})
	}
}

// Two devices may be the same unit, one read more often than the other, and both are closed
// and opened again while answers are under way. The port stays open for a third one.
func TestLateAnswersAreNotTakenForThoseOfAnotherDevice(t *testing.T) {
	for _, latency := range []time.Duration{1400 * time.Millisecond, 2 * time.Second, 2200 * time.Millisecond, 2500 * time.Millisecond, 3 * time.Second, 4 * time.Second} {
		for _, points := range [][]string{{twoAlike}, {`points = [{ name = "a", address = 100 }]`, `points = [{ name = "b", address = 200 }]`}} {
			synctest.Test(t, func(t *testing.T) {
				l := newLine(map[byte]*modbustest.Unit{1: alike(), 2: alike()})
				var late sync.WaitGroup
				var slow atomic.Bool
				delayed(l, latency, "", &slow, &late)
				kind := modbus.RTUKind()
				var diaries []*serialtest.Diary
				for _, options := range append(points, "unit_id = 2\n"+twoAlike) {
					diaries = append(diaries, serialtest.Run(t, drivers.Spec{Kind: kind, Every: time.Second, Ports: l.Ports(), Decode: with(onPort + options)}))
				}
				time.Sleep(10 * time.Second)
				slow.Store(true)
				time.Sleep(5 * time.Minute)
				for _, d := range diaries {
					d.End(t)
					if text := d.Text(); strings.Contains(text, "a=2") || strings.Contains(text, "b=1") || !strings.Contains(text, "online") {
						t.Errorf("answers after %v: %s", latency, text)
					}
				}
				late.Wait()
			})
		}
	}
}

// A gateway that is started again finds the answer to what it asked before it stopped.
func TestAnswerToAnEarlierRun(t *testing.T) {
	for _, latency := range []time.Duration{200 * time.Millisecond, 700 * time.Millisecond, 900 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			l := newLine(map[byte]*modbustest.Unit{1: alike()})
			var late sync.WaitGroup
			late.Go(func() {
				time.Sleep(latency)
				l.Feed(string(modbustest.Frame(1, []byte{3, 2, 0, 2}))) // register 200
			})
			var slow atomic.Bool
			slow.Store(true)
			delayed(l, latency, "", &slow, &late)
			dev := open(t, modbus.RTUKind(), onPort+twoAlike, l.Ports())
			if got := sample(t, dev); got != "a=1 b=2" {
				t.Errorf("after %v: %s", latency, got)
			}
			late.Wait()
		})
	}
}

// So does one behind a converter, which hands the answer to whoever is connected by then.
func TestAnswerToAnEarlierRunOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	unit, served := alike(), make(chan struct{})
	go func() {
		defer close(served)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		time.Sleep(300 * time.Millisecond)
		conn.Write(modbustest.Frame(1, []byte{3, 2, 0, 2})) // register 200
		for frame := make([]byte, 8); ; {
			if _, err := io.ReadFull(conn, frame); err != nil {
				return
			}
			conn.Write(modbustest.Frame(1, unit.Answer(frame[1:6])))
		}
	}()
	dev := open(t, modbus.TCPKind(), fmt.Sprintf("address = %q\nframing = \"rtu\"\n", l.Addr())+twoAlike, drivers.Ports{})
	if got := sample(t, dev); got != "a=1 b=2" {
		t.Error(got)
	}
	dev.Close()
	<-served
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
	for try := 1; ; try++ { // 0.3 s may be short where the machine is busy with something else
		if got := sample(t, dev); got == "a=1 b=2" {
			break
		} else if try == 10 {
			t.Fatal(got)
		}
	}
	mu.Lock()
	slow = true
	mu.Unlock()
	for range 3 {
		r, err := dev.(drivers.Sampler).Sample(t.Context())
		if wrongly(r.Values) != nil {
			t.Fatalf("%v, %v", r.Values, err)
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
