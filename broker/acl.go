package broker

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"edgegateway/broker/packet"
	"edgegateway/broker/topic"
)

// acl is an access control list in the syntax of Mosquitto, mosquitto.conf(5):
//
//	topic read public/#
//	user anna
//	topic deny house/safe
//	topic house/#
//	pattern write sensor/%u/data
//
// Topics before the first user are those of anonymous clients; patterns hold for
// all. What nothing allows is forbidden. It never changes.
type acl struct {
	anonymous []rule
	users     map[string][]rule
	patterns  []rule // with %u and %c
}

// access is what a rule allows; 0 is "deny".
type access byte

const (
	mayRead  access = 1
	mayWrite access = 2
)

type rule struct {
	access access
	filter string
}

// errForbidden refuses a PUBLISH [MQTT-3.4.2-1]. There is one for all: a client that
// goes on with it makes no garbage.
var errForbidden error = ErrRefused{packet.NotAuthorized, "the access rules do not allow to publish here"}

func readACL(path string) (*acl, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read acl_file: %w", err)
	}
	defer f.Close()
	a := &acl{users: make(map[string][]rule)}
	user, named := "", false
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimRight(lines.Text(), " \t\r")
		if strings.HasPrefix(line, "#") {
			continue
		}
		word, rest := cutWord(line)
		switch word {
		case "":
			continue
		case "user":
			if rest == "" {
				return nil, fmt.Errorf("%s:%d: user without a name", path, n)
			}
			user, named = rest, true
			continue
		case "topic", "pattern":
		default:
			return nil, fmt.Errorf("%s:%d: a line begins with user, topic, pattern or #, not with %q", path, n, word)
		}
		r, err := parseRule(rest)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s %w", path, n, word, err)
		}
		switch {
		case word == "pattern":
			a.patterns = append(a.patterns, r)
		case named:
			a.users[user] = append(a.users[user], r)
		default:
			a.anonymous = append(a.anonymous, r)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read acl_file %s: %w", path, err)
	}
	denyFirst(a.anonymous)
	denyFirst(a.patterns)
	for _, list := range a.users {
		denyFirst(list)
	}
	return a, nil
}

func cutWord(s string) (word, rest string) {
	s = strings.TrimLeft(s, " \t")
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

// parseRule reads what stands behind topic or pattern. A filter may have spaces if
// the access stands before it.
func parseRule(s string) (rule, error) {
	r := rule{access: mayRead | mayWrite, filter: s}
	if word, rest := cutWord(s); rest != "" {
		r.filter = rest
		switch word {
		case "read":
			r.access = mayRead
		case "write":
			r.access = mayWrite
		case "readwrite":
		case "deny":
			r.access = 0
		default:
			return r, fmt.Errorf("has the access %q; it is read, write, readwrite or deny", word)
		}
	}
	if r.filter == "" {
		return r, errors.New("has no topic")
	}
	if err := topic.ValidFilter(r.filter); err != nil {
		return r, fmt.Errorf("%q: %w", r.filter, err)
	}
	return r, nil
}

// denyFirst puts what is denied in front, so that it wins.
func denyFirst(list []rule) {
	slices.SortStableFunc(list, func(x, y rule) int {
		return min(int(x.access), 1) - min(int(y.access), 1)
	})
}

// rights are what an access control list lets one client do. They never change.
// Without a list there are none: a nil *rights allows everything.
type rights struct {
	acl    *acl
	client string
	user   string
	named  bool // user is verified; else the client is anonymous

	topics   []rule
	patterns []rule
}

// rights returns those of a client. Its name counts only if it is verified: what
// anybody may claim opens nothing.
func (a *acl) rights(client, user string, named bool) *rights {
	if a == nil {
		return nil
	}
	if !named {
		user = ""
	}
	r := &rights{acl: a, client: client, user: user, named: named, topics: a.anonymous}
	if named {
		r.topics = a.users[user]
	}
	if strings.ContainsAny(client, "+#") || strings.ContainsAny(user, "+#") {
		return r // a name with a wildcard would open more than its own: no pattern holds for it
	}
	for _, p := range a.patterns {
		if p, ok := r.fill(p); ok {
			r.patterns = append(r.patterns, p)
		}
	}
	return r
}

// fill puts the names into a pattern. A pattern that allows something holds only
// as far as its levels: a name with a / does not reach below those of another
// client, and none reaches what begins with $.
func (r *rights) fill(p rule) (rule, bool) {
	of, byUser, byClient := p.filter, strings.Contains(p.filter, "%u"), strings.Contains(p.filter, "%c")
	if byUser && !r.named {
		return p, false
	}
	if p.access != 0 && (byUser && strings.Contains(r.user, "/") || byClient && strings.Contains(r.client, "/")) {
		return p, false
	}
	p.filter = strings.NewReplacer("%u", r.user, "%c", r.client).Replace(of)
	if p.access != 0 && strings.HasPrefix(p.filter, "$") && !strings.HasPrefix(of, "$") {
		return p, false
	}
	return p, p.filter != ""
}

// may reports whether the client may read or write a topic.
func (r *rights) may(a access, name string) bool {
	if r == nil {
		return true
	}
	for _, list := range [2][]rule{r.topics, r.patterns} {
		for i := range list {
			if of := list[i].access; (of == 0 || of&a != 0) && topic.Match(list[i].filter, name) {
				return of != 0
			}
		}
	}
	return false
}

// same reports whether two clients, of which one comes after the other, may do the
// same.
func (r *rights) same(other *rights) bool {
	if r == nil || other == nil {
		return r == other
	}
	return r.acl == other.acl && r.client == other.client && r.user == other.user && r.named == other.named
}

// maxWriters is how many clients' rights a route remembers. We chose it.
const maxWriters = 64

// mayWrite is rights.may for the publisher of a route, remembered. Broker.mu is
// held.
func (r *route) mayWrite(by *rights) bool {
	if by == nil {
		return true
	}
	ok, known := r.writers[by]
	if !known {
		ok = by.may(mayWrite, r.topic)
		if r.writers == nil || len(r.writers) >= maxWriters {
			r.writers = make(map[*rights]bool)
		}
		r.writers[by] = ok
	}
	return ok
}
