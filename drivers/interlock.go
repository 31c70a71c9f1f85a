package drivers

import (
	"fmt"
	"sync"
	"time"
)

// Interlocks keep the outputs of a group from being on together: the two directions
// of a motor. There is one for all devices of a gateway. The zero value is ready; it
// is safe for concurrent use.
type Interlocks struct {
	mu     sync.Mutex // guards what follows
	groups map[string]*interlock
}

type interlock struct {
	holder string               // who may be on; "" = nobody
	off    map[string]time.Time // when the others went off last
}

// Claim takes a group for an output that is to go on, or says why that may not be:
// another one is on, or one went off less than pause ago. Who names the output, the
// same at every call. Claiming what one has already changes nothing. The error is a
// RefusedError.
func (l *Interlocks) Claim(group, who string, pause time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.group(group)
	if g.holder == who {
		return nil
	}
	if g.holder != "" {
		return &RefusedError{fmt.Errorf("%s has the interlock %q, which lets one output be on at a time; switch that one off first", g.holder, group)}
	}
	for other, at := range g.off {
		if left := pause - time.Since(at); other != who && left > 0 {
			return &RefusedError{fmt.Errorf("%s went off less than %v ago, and the interlock %q wants that pause; send the command again in %v",
				other, pause, group, left.Round(time.Millisecond))}
		}
	}
	g.holder = who
	return nil
}

// Release says that an output is off, and was on or may have been until now: it gives
// the group back if that output had it, and begins its pause.
func (l *Interlocks) Release(group, who string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.group(group)
	if g.holder == who {
		g.holder = ""
	}
	g.off[who] = time.Now()
}

func (l *Interlocks) group(name string) *interlock {
	if l.groups == nil {
		l.groups = make(map[string]*interlock)
	}
	if l.groups[name] == nil {
		l.groups[name] = &interlock{off: make(map[string]time.Time)}
	}
	return l.groups[name]
}
