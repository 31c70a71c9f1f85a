package broker

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// loginMemory is how long a password that was right is known to be right after it
// was last given. We chose it: when a link of many clients is back, they all come
// at once, and each hash takes a good part of a second on a small board.
const loginMemory = time.Hour

var errBusyHashing = errors.New("too many logins at once")

// passwords is a password file. Safe for concurrent use.
type passwords struct {
	users   map[string]passwordHash
	standIn passwordHash // for users who are not there: the slowest of the file; nil: it is empty
	key     [32]byte     // random, of the digests in known

	mu    sync.Mutex
	known map[string]login // by user: at most as many as there are in the file
}

// login is a password that was right, as a keyed digest that is worth nothing
// outside of this process.
type login struct {
	digest [sha256.Size]byte
	until  time.Time
}

func readPasswords(path string) (*passwords, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read password_file: %w", err)
	}
	defer f.Close()
	p := &passwords{users: make(map[string]passwordHash), known: make(map[string]login)}
	_, _ = rand.Read(p.key[:]) // never fails
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimRight(lines.Text(), " \t\r")
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s:%d: the line is not user:hash (make it with gateway passwd)", path, n)
		}
		h, err := parseHash(hash)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: user %q: %w", path, n, name, err)
		}
		p.users[name] = h
		if p.standIn == nil || h.work() > p.standIn.work() {
			p.standIn = h
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read password_file %s: %w", path, err)
	}
	return p, nil
}

// check reports whether a password is right. A user who is not there costs as much
// as one who is (where the file has several kinds of hashes: as the slowest), so
// that names can not be guessed. What is slow to compute waits
// for enter; if that is false the answer is an error.
func (p *passwords) check(name string, password []byte, now time.Time, enter func() bool, leave func()) (bool, error) {
	digest := p.digest(name, password)
	if p.remembers(name, digest, now) {
		return true, nil
	}
	h, known := p.users[name]
	if !known {
		h = p.standIn
	}
	if h == nil {
		return false, nil
	}
	if h.work() >= slowWork {
		if !enter() {
			return false, errBusyHashing
		}
		defer leave()
		if p.remembers(name, digest, now) { // while we waited
			return true, nil
		}
	}
	if !h.matches(password) || !known {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[name] = login{digest, now.Add(loginMemory)}
	return true, nil
}

func (p *passwords) digest(name string, password []byte) (d [sha256.Size]byte) {
	h := hmac.New(sha256.New, p.key[:])
	fmt.Fprintf(h, "%d:%s", len(name), name)
	h.Write(password)
	h.Sum(d[:0])
	return d
}

// remembers reports whether the password was right not long ago; then it stays
// known.
func (p *passwords) remembers(name string, digest [sha256.Size]byte, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, ok := p.known[name]
	if !ok {
		return false
	}
	if now.After(l.until) {
		delete(p.known, name)
		return false
	}
	if !hmac.Equal(l.digest[:], digest[:]) {
		return false
	}
	p.known[name] = login{digest, now.Add(loginMemory)}
	return true
}
