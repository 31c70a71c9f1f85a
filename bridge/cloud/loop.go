package cloud

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"edgegateway/broker/packet"
)

// Run keeps the link up until ctx ends. Then it says offline on the server, and
// returns after all that it started has ended. It is to be called once.
func (b *Bridge) Run(ctx context.Context) error {
	reporting, stop := context.WithCancel(context.WithoutCancel(ctx))
	var reporter sync.WaitGroup
	reporter.Go(func() { b.report(reporting) })
	defer reporter.Wait()
	defer stop()

	r := newRoster(b.servers, b.tuning.paces, b.epoch.Server)
	wait := b.tuning.paces[soon]
	cleanStart := false // for one attempt
	for ctx.Err() == nil {
		p := r.next(time.Now())
		if p == nil {
			b.rest(ctx, r, &wait)
			r.begin()
			continue
		}
		b.trying(p.server)
		end := b.once(ctx, p, r.isFirst(p), cleanStart)
		if ctx.Err() != nil {
			break
		}
		cleanStart = errors.Is(end.err, errForeignSession) && !cleanStart
		b.learn(r, p, end, &wait)
		switch {
		case cleanStart:
			r.again(p)
		case end.good:
			sleep(ctx, wait.next())
		case r.more():
			// Not all servers at the same moment: on average a try per second.
			sleep(ctx, rand.N(2*min(b.tuning.paces[soon].first, time.Second)+1))
		}
	}
	return nil
}

// ending is what became of one attempt.
type ending struct {
	err    error
	good   bool          // the connection has lasted
	lasted time.Duration // from CONNACK
	moved  bool          // messages have come through
}

// learn draws from an ending who is asked next, and when.
func (b *Bridge) learn(r *roster, p *place, end ending, wait *backoff) {
	if end.good {
		wait.reset()
		r.good(p)
	}
	if end.moved {
		wait.served(end.lasted)
	}
	for m := range p.listed().paces {
		p.listed().paces[m].lasted(end.lasted)
	}
	switch {
	case errors.Is(end.err, errReturning):
		r.toFirst()
		b.patience = min(2*b.patience, max(time.Hour, b.cfg.ReturnAfter)) // until it has proved to be good
		return
	case end.good && p == r.list[0]:
		b.patience = b.cfg.ReturnAfter
	case errors.Is(end.err, errForeignSession):
		b.failed(end.err, verdict{}, false)
		return
	}
	if b.redirected(r, p, end.err) {
		return
	}
	if b.will.adapt(end.err) {
		r.again(p)
		return
	}
	v := judge(end.err)
	b.failed(end.err, v, end.lasted > 0)
	p.put(v.manner, time.Now())
}

// redirected follows a server that names another one.
func (b *Bridge) redirected(r *roster, p *place, err error) bool {
	code, list := direction(err)
	if list == "" || code != packet.UseAnotherServer && code != packet.ServerMoved {
		return false
	}
	from := p.url
	to, refused := p.referred(list)
	if refused == nil && !r.follow(p, to, code == packet.ServerMoved) {
		refused = fmt.Errorf("servers send us around, more than %d times in a row", mostHops)
	}
	if refused != nil {
		b.log.Warn("cloud server names another one that is not used", "server", from, "reference", list, "err", refused)
		return false
	}
	b.log.Info("cloud server sends us to another one", "server", from, "to", to.url, "for_good", code == packet.ServerMoved)
	return true
}

// rest waits until it is worth to ask again: a back-off, or longer if all servers
// are to be left alone for longer. A file that has changed ends the wait: it may be
// the password that was missing.
func (b *Bridge) rest(ctx context.Context, r *roster, wait *backoff) {
	until := time.Now().Add(wait.next())
	if e := r.earliest(); e.After(until) {
		until = e
	}
	before := b.cfg.stamps()
	for d := time.Until(until); d > 0 && ctx.Err() == nil; d = time.Until(until) {
		sleep(ctx, min(d, watchFiles))
		if d > watchFiles && b.cfg.stamps() != before {
			r.forgive()
			wait.reset()
			return
		}
	}
}

// watchFiles is how often files are looked at during a long wait.
const watchFiles = 5 * time.Second

// sleep reports whether ctx let it sleep to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
