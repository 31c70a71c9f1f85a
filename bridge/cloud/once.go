package cloud

import (
	"context"
	"sync"
	"time"
)

// once is one attempt and, if it succeeds, the life of the link. first says that
// there is no better server to go back to.
func (b *Bridge) once(ctx context.Context, p *place, first, cleanStart bool) ending {
	who, err := b.cfg.login()
	if err != nil {
		return ending{err: err}
	}
	dialing, cancel := context.WithTimeout(ctx, b.tuning.dial)
	conn, err := b.cfg.dial(dialing, p.server)
	cancel()
	if err != nil {
		return ending{err: err}
	}
	defer conn.Close()
	l := b.newLink(p.server, newWire(conn, maxInbound))
	if l.unsure, err = b.attempt(ctx, p.server); err != nil {
		return ending{err: err}
	}
	if err := l.connect(ctx, who, cleanStart); err != nil {
		return ending{err: err}
	}
	up := time.Now()
	b.linkUp(l)
	living, end := context.WithCancel(context.WithoutCancel(ctx))
	var helpers sync.WaitGroup
	waits := b.queue.Stats()
	helpers.Go(func() { l.follow(living, waits) })
	helpers.Go(l.pump)
	helpers.Go(func() { l.hasten(living) })
	if !first && b.cfg.ReturnAfter > 0 {
		helpers.Go(func() { l.watchFirst(living) })
	}
	good := l.serve(ctx)
	end()
	helpers.Wait()
	b.linkEnded(l)
	l.mu.Lock()
	moved := l.moved
	l.mu.Unlock()
	return ending{err: l.reason(), good: good, lasted: time.Since(up), moved: moved}
}

// serve returns when the link has ended, and ends it when ctx does.
func (l *link) serve(ctx context.Context) (good bool) {
	if err := l.subscribe(ctx); err != nil && ctx.Err() == nil {
		l.fail(err)
	}
	t := l.b.tuning
	lasted, sure := time.NewTimer(t.good), time.NewTimer(t.sure)
	defer lasted.Stop()
	defer sure.Stop()
	watch := time.NewTicker(watchEvery)
	defer watch.Stop()
	up := time.Now()
	prove := func() {
		if !good {
			good = true
			l.b.proved()
		}
	}
	for {
		select {
		case <-lasted.C:
			l.mu.Lock()
			acked := l.acked
			l.mu.Unlock()
			if acked {
				prove()
			}
		case now := <-watch.C:
			l.watch(now, now.Sub(up))
		case <-sure.C:
			prove()
		case <-l.back:
			if l.leave(ctx) {
				return good
			}
		case <-ctx.Done():
			l.farewell()
			return good
		case <-l.client.Done():
			return good
		}
	}
}
