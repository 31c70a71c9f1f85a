package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"edgegateway/broker/packet"
)

// batchBytes is how much one write holds at most: more is not faster, and what
// waits in a write counts as latency.
const batchBytes = 64 << 10

// A publisher sends the messages of its streams as fast as its limits allow. Two
// goroutines share it: send, and receive, which reads the acknowledgements.
type publisher struct {
	conn     *connection
	qos      packet.QoS
	clock    clock
	template template
	streams  []outStream
	links    []*link // to the subscribers of its streams

	count  int64         // messages to send; 0: no limit
	until  int64         // clock when it stops; 0: no limit
	window int           // under way towards the broker, QoS 1 and 2
	ahead  int64         // ahead of the slowest subscriber; 0: no limit
	rate   float64       // messages per second; 0: no limit
	phase  time.Duration // by which it begins later, so that all do not speak at once
	begun  int64         // clock when it started

	wake    chan struct{} // something may go on: an acknowledgement, a delivery
	flights flights       // QoS 1 and 2

	// Of send.
	sent    int64
	at      int   // the stream that is next
	woke    int64 // end of the last sleep that the rate asked for
	forgone int64 // given up as lost by the subscribers, see lead
	buf     []byte
	ids     []uint16
	end     int64 // clock when all was sent and answered

	rests bool // see rest

	// Of receive.
	packets int // in the last batch
	pong    atomic.Bool
	done    chan struct{}
	err     error // of receive; valid after done
}

type outStream struct {
	id     uint32
	digits string
	next   uint64
}

// A link joins a publisher to a subscriber: how far has it come?
type link struct {
	publisher *publisher
	passed    atomic.Int64 // messages that have arrived, or were overtaken by one that has

	// Of the subscriber's goroutine.
	count int64
	dirty bool
}

// prepare fills the buffer with packets that send then only patches.
func (p *publisher) prepare() {
	n := max(batchBytes/len(p.template.bytes), 1)
	if p.qos > packet.QoS0 {
		p.window = min(p.window, p.conn.window)
		p.flights.init(p.window)
		n = min(n, p.window)
		p.ids = make([]uint16, 0, n)
	}
	p.buf = make([]byte, 0, p.window*ackSize+n*len(p.template.bytes))
	p.buf = p.buf[:p.window*ackSize] // room for what QoS 2 sends with them
	copy(p.template.bytes[p.template.digitsAt:], p.streams[0].digits)
	for range n {
		p.buf = append(p.buf, p.template.bytes...)
	}
	p.wake = make(chan struct{}, 1)
	p.done = make(chan struct{})
}

// send publishes until its limits, then until all is acknowledged, then until
// the broker has answered a PINGREQ: so it has read all that came before.
func (p *publisher) send(ctx context.Context) error {
	p.begun = p.clock.now() + int64(p.phase)
	p.woke = p.begun
	size := len(p.template.bytes)
	reserved := p.window * ackSize
	var limit time.Time
	for {
		n, rels, err := p.wait(ctx)
		if err != nil {
			return err
		}
		if n == 0 && len(rels) == 0 {
			break
		}
		from := reserved - copy(p.buf[reserved-len(rels):], rels)
		p.fill(p.buf[reserved:], n)
		if now := time.Now(); limit.Sub(now) < patience/2 { // not for each: it costs a system call's worth
			limit = now.Add(patience)
			p.conn.nc.SetWriteDeadline(limit)
		}
		if written, err := p.conn.nc.Write(p.buf[from : reserved+n*size]); err != nil {
			p.sent += int64(max(written-len(rels), 0) / size)
			return p.because(err)
		}
		p.sent += int64(n)
	}
	p.pong.Store(true)
	p.conn.nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := p.conn.nc.Write((&packet.Pingreq{}).Append(nil, p.conn.version)); err != nil {
		return p.because(err)
	}
	<-p.done
	p.end = p.clock.now()
	return p.err
}

// because prefers what the broker said to the broken pipe that follows.
func (p *publisher) because(err error) error {
	p.conn.nc.Close()
	<-p.done
	if p.err != nil && !errors.Is(p.err, errClosed) {
		return p.err
	}
	return err
}

// wait returns when n messages and the PUBRELs in rels may go out; both are empty
// at the end.
func (p *publisher) wait(ctx context.Context) (n int, rels []byte, err error) {
	var timer *time.Timer // made when it is needed, which is seldom under load
	most := (len(p.buf) - p.window*ackSize) / len(p.template.bytes)
	silent := time.Duration(0)
	for {
		now := p.clock.now()
		left, pause := p.due(now)
		finished := left == 0 && pause == 0
		lead := p.lead()
		if p.ahead > 0 {
			left = min(left, max(p.ahead-lead, 0))
		}
		n = int(min(left, int64(most)))
		if p.qos > packet.QoS0 {
			var all bool
			p.ids, rels, all = p.flights.take(p.ids[:0], n)
			if n = len(p.ids); finished && all {
				return 0, nil, nil
			}
		} else if finished {
			return 0, nil, nil
		}
		if n > 0 || len(rels) > 0 {
			return n, rels, nil
		}

		// Whoever waits longer than this for others gives something up: after 1 s
		// the QoS 0 messages that no subscriber got, after patience the broker.
		sleep := time.Second
		byRate := pause > 0
		if byRate {
			sleep = min(sleep, time.Duration(pause))
		}
		if p.until > 0 && !finished {
			sleep = min(sleep, max(time.Duration(p.until-now), 0))
		}
		if timer == nil {
			timer = time.NewTimer(sleep)
			defer timer.Stop()
		} else {
			timer.Reset(sleep)
		}
		select {
		case <-p.wake:
			silent = 0
		case <-p.done:
			return 0, nil, p.because(errClosed)
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-timer.C:
			if byRate {
				p.woke = p.clock.now()
				continue
			}
			if silent += sleep; sleep == time.Second && p.ahead > 0 && lead >= p.ahead {
				p.forgone += lead
			}
			if silent >= patience {
				return 0, nil, p.because(fmt.Errorf("the broker has not acknowledged anything for %v", patience))
			}
		}
	}
}

// due is how many messages the number, the duration and the rate allow now; if
// the rate alone forbids, pause is how long.
func (p *publisher) due(now int64) (n, pause int64) {
	n = math.MaxInt64
	if p.count > 0 {
		n = p.count - p.sent
	}
	if n == 0 || p.until > 0 && now >= p.until {
		return 0, 0
	}
	if now < p.begun {
		return 0, p.begun - now
	}
	if p.rate > 0 {
		allowed := int64(float64(now-p.begun)/1e9*p.rate) + 1 - p.sent
		if allowed <= 0 {
			return 0, max(p.dueAt(p.sent)-now, 1)
		}
		n = min(n, allowed)
	}
	return n, 0
}

// dueAt is when the rate wants message i out.
func (p *publisher) dueAt(i int64) int64 { return p.begun + int64(float64(i)/p.rate*1e9) }

// lead is how far this publisher is ahead of its slowest subscriber. What is
// lost for good at QoS 0 would hold it back for ever; wait forgoes it.
func (p *publisher) lead() int64 {
	if p.ahead == 0 || len(p.links) == 0 {
		return 0
	}
	slowest := int64(math.MaxInt64)
	for _, l := range p.links {
		slowest = min(slowest, l.passed.Load())
	}
	return p.sent - slowest - p.forgone
}

// fill patches n prepared packets.
func (p *publisher) fill(buf []byte, n int) {
	t := &p.template
	size := len(t.bytes)
	s := stamp{sent: p.clock.now()}
	if len(p.ids) > 0 {
		p.flights.leave(p.ids, s.sent)
	}
	for i := range n {
		b := buf[i*size : (i+1)*size]
		out := &p.streams[p.at]
		if len(p.streams) > 1 {
			copy(b[t.digitsAt:], out.digits)
			if p.at++; p.at == len(p.streams) {
				p.at = 0
			}
		}
		if p.qos > packet.QoS0 {
			binary.BigEndian.PutUint16(b[t.idAt:], p.ids[i])
		}
		if p.rate > 0 {
			// What is late because of the broker counts from when it was due, what
			// is late because this machine slept too long does not.
			s.sent = max(p.dueAt(p.sent+int64(i)), p.woke)
		}
		s.stream, s.number = out.id, out.next
		out.next++
		s.put(b[t.stampAt:])
	}
}

// notify wakes the sender, if it sleeps.
func (p *publisher) notify() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
