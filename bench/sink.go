package bench

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"edgegateway/broker/packet"
)

// Sink is a broker that only takes: it accepts everybody, reads, acknowledges
// and delivers nothing. What the generator reaches against it is its limit. The
// zero value is ready; it is safe for concurrent use.
type Sink struct {
	received atomic.Int64
}

// Received is the number of PUBLISH packets so far.
func (s *Sink) Received() int64 { return s.received.Load() }

// Serve takes connections until ctx ends; it closes ln and returns after all
// connections have ended.
func (s *Sink) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		nc, err := ln.Accept()
		if ctx.Err() != nil {
			if nc != nil {
				nc.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
		wg.Go(func() {
			stop := context.AfterFunc(ctx, func() { nc.Close() })
			defer stop()
			defer nc.Close()
			s.serve(nc) // an error is a client that is gone
		})
	}
}

// serve answers one client until it leaves.
func (s *Sink) serve(nc net.Conn) error {
	in := splitter{r: nc}
	d := packet.Decoder{}
	p, err := in.packet(&d)
	if err != nil {
		return err
	}
	hello, ok := p.(*packet.Connect)
	if !ok {
		return nil
	}
	out := (&packet.Connack{}).Append(nil, hello.Version)
	in.widen()
	for {
		n := int64(0)
		for {
			first, body, err := in.next()
			if err != nil {
				return err
			}
			if body == nil {
				break
			}
			switch first >> 4 {
			case publish:
				n++
				if first&0x06 != 0 {
					if out, ok = acknowledge(out, first, body); !ok {
						return nil
					}
				}
			case pubrel:
				if len(body) >= 2 {
					out = append(out, pubcomp<<4, 2, body[0], body[1])
				}
			case byte(packet.SUBSCRIBE):
				if out, ok = grant(out, hello.Version, first, body); !ok {
					return nil
				}
			case byte(packet.PINGREQ):
				out = (&packet.Pingresp{}).Append(out, hello.Version)
			case byte(packet.DISCONNECT):
				return nil
			}
		}
		s.received.Add(n)
		if len(out) > 0 {
			if _, err := nc.Write(out); err != nil {
				return err
			}
			out = out[:0]
		}
		if err := in.fill(); err != nil {
			return err
		}
	}
}

// acknowledge adds the PUBACK or PUBREC of a PUBLISH.
func acknowledge(out []byte, first byte, body []byte) ([]byte, bool) {
	at, ok := identifier(body)
	if !ok {
		return out, false
	}
	return append(out, (puback+first>>1&3-1)<<4, 2, body[at], body[at+1]), true
}

// identifier is where the packet identifier of a PUBLISH stands.
func identifier(body []byte) (at int, ok bool) {
	if len(body) < 2 {
		return 0, false
	}
	at = 2 + int(body[0])<<8 + int(body[1])
	return at, len(body) >= at+2
}

// grant adds the SUBACK of a SUBSCRIBE.
func grant(out []byte, v packet.Version, first byte, body []byte) ([]byte, bool) {
	whole := append([]byte{first}, varint(len(body))...)
	d := packet.Decoder{Version: v}
	p, _, _, err := d.Next(append(whole, body...))
	if err != nil {
		return out, false
	}
	s := p.(*packet.Subscribe)
	ack := packet.Suback{ID: s.ID}
	for _, one := range s.Subscriptions {
		ack.Codes = append(ack.Codes, packet.ReasonCode(one.QoS))
	}
	return ack.Append(out, v), true
}

// varint encodes a remaining length.
func varint(n int) (b []byte) {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}
