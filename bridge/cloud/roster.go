package cloud

import (
	"time"
)

// roster says which server is asked next. It asks in passes: first the one that has
// our session, then the others in order. One that said to come back later is left
// out until then. Not safe for concurrent use: it belongs to Run.
type roster struct {
	list  []*place
	home  *place   // one of list that the last good connection was with
	pass  []*place // still to be asked
	guest *place   // where a server has sent us; asked before all others
	hops  int      // from server to server since a connection was good
}

// place is a server with what it has said so far.
type place struct {
	server
	from  *place           // of a guest: the one of the list that sent us there, and that pays for it
	paces [manners]backoff // but soon, which is one for all
	until time.Time        // not to be asked before
}

// listed is the place of the list that p stands for.
func (p *place) listed() *place {
	if p.from != nil {
		return p.from
	}
	return p
}

// mostHops bounds how far servers send us: they may do so in a circle.
const mostHops = 5

func newRoster(servers []server, paces [manners]backoff, home string) *roster {
	r := &roster{}
	for _, s := range servers {
		p := &place{server: s, paces: paces}
		if r.list = append(r.list, p); r.home == nil && s.url == home {
			r.home = p
		}
	}
	r.begin()
	return r
}

// begin starts a pass.
func (r *roster) begin() {
	r.pass = r.pass[:0]
	if r.home != nil {
		r.pass = append(r.pass, r.home)
	}
	for _, p := range r.list {
		if p != r.home {
			r.pass = append(r.pass, p)
		}
	}
}

// next is whom to ask now, nil at the end of a pass.
func (r *roster) next(now time.Time) *place {
	if p := r.guest; p != nil {
		r.guest = nil
		return p
	}
	for len(r.pass) > 0 {
		p := r.pass[0]
		r.pass = r.pass[1:]
		if !now.Before(p.until) {
			return p
		}
	}
	return nil
}

// more reports whether this pass goes on.
func (r *roster) more() bool { return r.guest != nil || len(r.pass) > 0 }

// again has the same server asked once more in this pass.
func (r *roster) again(p *place) { r.guest = p }

// good notes that a connection has lasted; guests are not asked first again: the
// server that sent us to them knows better.
func (r *roster) good(p *place) {
	r.hops = 0
	if p.from == nil {
		r.home = p
	}
	r.begin()
}

// isFirst reports whether there is nobody better.
func (r *roster) isFirst(p *place) bool { return p == r.list[0] || p.from != nil }

// toFirst has the first server asked next.
func (r *roster) toFirst() {
	r.home = r.list[0]
	r.begin()
}

// follow goes where p has sent us, for good if it has moved there. It returns false
// if that was too often.
func (r *roster) follow(p *place, to server, moved bool) bool {
	if r.hops++; r.hops > mostHops {
		r.hops = 0
		return false
	}
	if moved {
		p.server = to
		r.guest = p
		return true
	}
	r.guest = &place{server: to, from: p.listed()}
	return true
}

// put notes that the server is not to be asked for a while.
func (p *place) put(m manner, now time.Time) {
	if p = p.listed(); m != soon {
		p.until = now.Add(p.paces[m].next())
	}
}

// earliest is when the first of the servers may be asked again.
func (r *roster) earliest() time.Time {
	t := r.list[0].until
	for _, p := range r.list[1:] {
		if p.until.Before(t) {
			t = p.until
		}
	}
	return t
}

// forgive lets all servers be asked at once: something here has changed.
func (r *roster) forgive() {
	for _, p := range r.list {
		p.until = time.Time{}
		for m := range p.paces {
			p.paces[m].reset()
		}
	}
}
