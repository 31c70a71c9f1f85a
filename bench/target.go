package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"edgegateway/broker/packet"
)

// Target is the broker under load.
type Target struct {
	// Dial opens one connection. It is called from several goroutines.
	Dial func(context.Context) (net.Conn, error)

	Version  packet.Version // packet.V311 or packet.V5
	Username string         // "" is not sent
	Password []byte
}

const (
	// handshakes is how many connections are opened side by side.
	handshakes = 32

	// patience is how long a broker may be silent before it is given up.
	patience = 10 * time.Second
)

// A connection is one client of the broker. Reading is for one goroutine.
type connection struct {
	nc      net.Conn
	in      splitter
	version packet.Version
	window  int // QoS 1 and 2 messages that the broker lets us have under way
}

// connect opens a connection and waits for its CONNACK. It ends with ctx.
// persistent asks for a session that outlives it.
func (t *Target) connect(ctx context.Context, id string, persistent bool) (*connection, error) {
	nc, err := t.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &connection{nc: nc, in: splitter{r: nc}, version: t.Version, window: 0xffff}
	hello := packet.Connect{
		ClientID: id, CleanStart: !persistent,
		UsernameFlag: t.Username != "", Username: t.Username,
		PasswordFlag: len(t.Password) > 0, Password: t.Password,
	}
	if persistent {
		hello.SessionExpiry = 3600 // MQTT 5: long enough for any run, and gone afterwards
	}
	p, err := c.ask(ctx, &hello)
	if err == nil {
		if ack, ok := p.(*packet.Connack); !ok {
			err = fmt.Errorf("the broker answers CONNECT with %v", p.Type())
		} else if ack.Code != packet.Success {
			err = fmt.Errorf("the broker refuses the connection with code 0x%02x", byte(ack.Code))
		} else if ack.ReceiveMaximum > 0 {
			c.window = int(ack.ReceiveMaximum)
		}
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect as %s: %w", id, err)
	}
	return c, nil
}

// subscribe asks for filters, in packets of moderate size.
func (c *connection) subscribe(ctx context.Context, filters []string, qos packet.QoS) error {
	for id := uint16(1); len(filters) > 0; id++ {
		n := min(len(filters), 500)
		s := packet.Subscribe{ID: id}
		for _, f := range filters[:n] {
			s.Subscriptions = append(s.Subscriptions, packet.Subscription{Filter: f, QoS: qos})
		}
		filters = filters[n:]
		p, err := c.ask(ctx, &s)
		if err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		ack, ok := p.(*packet.Suback)
		if !ok {
			return fmt.Errorf("the broker answers SUBSCRIBE with %v", p.Type())
		}
		for i, code := range ack.Codes {
			if code != packet.ReasonCode(qos) {
				return fmt.Errorf("the broker grants 0x%02x for %q at QoS %d", byte(code), s.Subscriptions[i].Filter, qos)
			}
		}
	}
	return nil
}

// ask sends p and returns the next packet that arrives, within patience.
func (c *connection) ask(ctx context.Context, p packet.Packet) (packet.Packet, error) {
	limit := time.Now().Add(patience)
	if d, ok := ctx.Deadline(); ok && d.Before(limit) {
		limit = d
	}
	stop := context.AfterFunc(ctx, func() { c.nc.Close() })
	defer stop()
	c.nc.SetDeadline(limit)
	defer c.nc.SetDeadline(time.Time{})
	if _, err := c.nc.Write(p.Append(nil, c.version)); err != nil {
		return nil, err
	}
	return c.in.packet(&packet.Decoder{Role: packet.Client, Version: c.version})
}

// leave ends the connection with DISCONNECT, in good manners but without waiting.
func (c *connection) leave() {
	c.nc.SetWriteDeadline(time.Now().Add(time.Second))
	c.nc.Write((&packet.Disconnect{}).Append(nil, c.version)) // an error means that it has ended already
	c.nc.Close()
}

// each calls f for 0 to n-1, at most limit at a time, and returns after the last
// call. After an error no further call is begun; the first errors are returned.
func each(n, limit int, f func(i int) error) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // guards what follows
		next int
		errs []error
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == n || len(errs) > 0 {
			return 0, false
		}
		next++
		return next - 1, true
	}
	for range min(n, limit) {
		wg.Go(func() {
			for {
				i, ok := take()
				if !ok {
					return
				}
				if err := f(i); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if len(errs) > 3 {
		errs = errs[:3]
	}
	return errors.Join(errs...)
}
