package bench

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"edgegateway/broker/packet"
)

// TestTracksAgreeWithASlowModel sends numbers with losses, repetitions and
// delays to a track and to a map.
func TestTracksAgreeWithASlowModel(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var numbers []uint64
		for n := range uint64(200) {
			for range []int{1, 1, 1, 0, 2}[rnd.IntN(5)] {
				numbers = append(numbers, n)
			}
		}
		for range rnd.IntN(100) {
			i := rnd.IntN(len(numbers))
			j := min(i+rnd.IntN(30), len(numbers)-1)
			numbers[i], numbers[j] = numbers[j], numbers[i]
		}
		var tr track
		seen, highest := map[uint64]bool{}, int64(-1)
		for i, n := range numbers {
			want := inOrder
			switch {
			case seen[n]:
				want = duplicate
			case int64(n) < highest:
				want = late
			}
			if got := tr.arrived(n); got != want {
				t.Fatalf("seed %d: %d, the %d. to arrive, is %v, want %v", seed, n, i, got, want)
			}
			seen[n], highest = true, max(highest, int64(n))
		}
		missing := 0
		for i, m := range tr.missing {
			if m.from >= m.to || i > 0 && m.from <= tr.missing[i-1].to {
				t.Fatalf("seed %d: missing %v", seed, tr.missing)
			}
			missing += int(m.to - m.from)
		}
		if want := int(highest) + 1 - len(seen); missing != want {
			t.Fatalf("seed %d: %d missing, want %d", seed, missing, want)
		}
	}
}

func TestPercentilesAreWithinTheirError(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var h, half histogram
	var all []int64
	for i := range 20000 {
		v := int64(1) << rnd.IntN(40)
		v += rnd.Int64N(v)
		all = append(all, v)
		if i%2 == 0 {
			h.add(v)
		} else {
			half.add(v)
		}
	}
	h.merge(&half)
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 1} {
		want := all[max(int(q*float64(len(all)))-1, 0)]
		if got := h.quantile(q); got < want || float64(got) > float64(want)*(1+1.0/64)+1 {
			t.Errorf("quantile %v = %d, want %d", q, got, want)
		}
	}
	if got, want := h.latencies().Max, time.Duration(all[len(all)-1]); got != want {
		t.Errorf("max %v, want %v", got, want)
	}
	var empty histogram
	empty.add(-5) // a clock can not go back, but nothing breaks
	if got := empty.quantile(0.5); got != 0 {
		t.Errorf("median of 0 is %d", got)
	}
}

func TestSlotsJoin(t *testing.T) {
	next := int64(0)
	for i := range len(histogram{}.counts) {
		if got := slot(uint64(next)); got != i {
			t.Fatalf("slot(%d) = %d, want %d", next, got, i)
		}
		if got := slot(uint64(ceiling(i))); got != i {
			t.Fatalf("slot(%d) = %d, want %d", ceiling(i), got, i)
		}
		next = ceiling(i) + 1
	}
}

func TestPacketsAreCutWhereTheyEnd(t *testing.T) {
	var stream []byte
	sizes := []int{0, 1, 50, 127, 128, 300, 16383, 16384, 200000, 3}
	for i, n := range sizes {
		stream = append(stream, byte(i)<<4)
		stream = append(stream, varint(n)...)
		stream = append(stream, bytes.Repeat([]byte{byte(i)}, n)...)
	}
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(stream), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
		"by halves": iotest.HalfReader(bytes.NewReader(stream)),
	} {
		s := splitter{r: r}
		for i, n := range sizes {
			first, body, err := s.next()
			for body == nil && err == nil {
				if err = s.fill(); err == nil {
					first, body, err = s.next()
				}
			}
			if err != nil || first != byte(i)<<4 || !bytes.Equal(body, bytes.Repeat([]byte{byte(i)}, n)) {
				t.Fatalf("%s: packet %d is %x with %d bytes, %v; want %d", name, i, first, len(body), err, n)
			}
		}
		if _, body, err := s.next(); body != nil || err != nil {
			t.Errorf("%s: there is one more", name)
		}
	}
	s := splitter{r: bytes.NewReader([]byte{0x30, 0x80, 0x80, 0x80, 0x80, 1})}
	s.fill()
	if _, _, err := s.next(); err != errLength {
		t.Errorf("five bytes of length: %v", err)
	}
}

// prepared is a publisher as connectPublishers makes it, and the stream it would send.
func prepared(qos packet.QoS, v packet.Version) *publisher {
	m := &Messages{Target: Target{Version: v}, Publishers: 2, Topics: 6, QoS: qos, Payload: 100, Window: 50}
	r := newRun(m, 0)
	p := &publisher{conn: &connection{window: 0xffff}, qos: qos, clock: r.clock, template: r.plan.template(m), window: m.Window}
	if qos == 0 {
		p.window = 0
	}
	for i := 1; i < 6; i += 2 {
		p.streams = append(p.streams, outStream{id: uint32(i), digits: r.plan.digits(i)})
	}
	p.prepare()
	return p
}

// TestPatchedPacketsAreWhatThePacketPackageReads decodes what fill has made.
func TestPatchedPacketsAreWhatThePacketPackageReads(t *testing.T) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		for qos := range packet.QoS2 + 1 {
			p := prepared(qos, v)
			b := p.buf[p.window*ackSize:]
			if qos > 0 {
				p.ids, _, _ = p.flights.take(p.ids[:0], 10)
			}
			p.fill(b, 10)
			d := packet.Decoder{Version: v}
			for i := range 10 {
				got, n, _, err := d.Next(b)
				if err != nil {
					t.Fatalf("%v QoS %d: %v", v, qos, err)
				}
				b = b[n:]
				m := got.(*packet.Publish)
				s := getStamp(m.Payload)
				stream := i%3*2 + 1
				if m.QoS != qos || qos > 0 && m.ID != uint16(i+1) || len(m.Payload) != 100 ||
					int(m.Topic[len(m.Topic)-1]-'0') != stream || s.stream != uint32(stream) || s.number != uint64(i/3) {
					t.Errorf("%v QoS %d: message %d is %q, id %d, stamp %+v", v, qos, i, m.Topic, m.ID, s)
				}
			}
		}
	}
}

func TestNothingIsAllocatedPerMessage(t *testing.T) {
	p := prepared(packet.QoS2, packet.V5)
	reserved := p.window * ackSize
	count := testing.AllocsPerRun(100, func() {
		p.ids, _, _ = p.flights.take(p.ids[:0], 40)
		p.fill(p.buf[reserved:], len(p.ids))
		p.flights.mu.Lock()
		for _, kind := range []byte{pubrec, pubcomp} {
			for _, id := range p.ids {
				p.flights.ackLocked(kind<<4, []byte{byte(id >> 8), byte(id)}, 1)
			}
		}
		p.flights.mu.Unlock()
	})
	if count > 0 {
		t.Errorf("%v allocations for 40 messages sent and acknowledged", count)
	}
}

func TestMetersSeeThisProcess(t *testing.T) {
	m, err := startMeter(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for begun := ownCPU(); ownCPU()-begun < 100*time.Millisecond; { // work, by its own measure
	}
	u, err := m.stop()
	if err != nil {
		t.Fatal(err)
	}
	// The two sources differ by their resolution: 10 ms at each end.
	if u.Generator.CPU < 100*time.Millisecond || (u.Generator.CPU-u.Broker.CPU).Abs() > 30*time.Millisecond || u.Broker.RSS < 1<<20 {
		t.Errorf("%+v, %+v", u.Generator, *u.Broker)
	}
	if _, err := startMeter(1 << 30); err == nil {
		t.Error("a process that is not there was measured")
	}
}
