package broker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func passwordFile(t *testing.T, lines ...string) *passwords {
	t.Helper()
	file := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := readPasswords(file)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The line of the reference implementation's own tests (m = 2^16, t = 2, p = 1).
func TestArgonOfTheReferenceImplementation(t *testing.T) {
	h, err := parseHash("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	if err != nil {
		t.Fatal(err)
	}
	if !h.matches([]byte("password")) || h.matches([]byte("passwort")) {
		t.Error("the right password is wrong, or the wrong one right")
	}
}

func TestPasswordThatWasRightIsNotComputedAgain(t *testing.T) {
	p := passwordFile(t, "anna:"+HashPassword([]byte("secret")), "bert:"+HashPassword([]byte("other")))
	now := time.Now()
	computed, busy := 0, false
	check := func(name, password string) (bool, error) {
		return p.check(name, []byte(password), now, func() bool { computed++; return !busy }, func() {})
	}
	for _, c := range []struct {
		about, name, password string
		after                 time.Duration
		right                 bool
		computes              int
	}{
		{"the first login", "anna", "secret", 0, true, 1},
		{"the second", "anna", "secret", 0, true, 0},
		{"a wrong password", "anna", "wrong", 0, false, 1},
		{"a wrong password again", "anna", "wrong", 0, false, 1},
		{"the right one after a wrong one", "anna", "secret", 0, true, 0},
		{"somebody else with it", "bert", "secret", 0, false, 1},
		{"a name that is not there", "carl", "secret", 0, false, 1},
		{"within the hour", "anna", "secret", 59 * time.Minute, true, 0},
		{"within an hour of the last time", "anna", "secret", 59 * time.Minute, true, 0},
		{"after it", "anna", "secret", 61 * time.Minute, true, 1},
	} {
		now = now.Add(c.after)
		computed = 0
		if right, err := check(c.name, c.password); right != c.right || err != nil || computed != c.computes {
			t.Errorf("%s: got %v, %v after %d computations, want %v after %d", c.about, right, err, computed, c.right, c.computes)
		}
	}
	if len(p.known) != 1 {
		t.Errorf("%d logins are remembered, want 1", len(p.known))
	}
	busy = true
	if right, err := check("bert", "other"); right || err == nil {
		t.Errorf("with no turn to compute: got %v, %v, want an error", right, err)
	}
}

func TestOneTurnAtATime(t *testing.T) {
	turn := newTurn()
	if !turn.enter(time.Minute, nil) {
		t.Fatal("nobody is there, and yet it is taken")
	}
	if turn.enter(time.Millisecond, nil) {
		t.Error("two at a time")
	}
	closing := make(chan struct{})
	close(closing)
	if turn.enter(time.Hour, closing) {
		t.Error("two at a time")
	}
	next := make(chan bool)
	go func() { next <- turn.enter(time.Minute, nil) }()
	turn.leave()
	if !<-next {
		t.Error("nobody is there any more, and yet it is taken")
	}
}

func TestHashesOutOfBoundsAreRefused(t *testing.T) {
	const salt, hash = "c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for _, c := range []struct{ hash, want string }{
		{"$argon2id$v=19$m=65536,t=8,p=16$" + salt + "$" + hash, ""},
		{"$argon2id$v=16$m=65536,t=2,p=1$" + salt + "$" + hash, "version 19"},
		{"$argon2i$v=19$m=65536,t=2,p=1$" + salt + "$" + hash, "none of"},
		{"$argon2id$v=19$m=65537,t=1,p=1$" + salt + "$" + hash, "out of bounds"},
		{"$argon2id$v=19$m=1048576,t=1,p=1$" + salt + "$" + hash, "out of bounds"},
		{"$argon2id$v=19$m=4294967295,t=4294967295,p=1$" + salt + "$" + hash, "out of bounds"},
		{"$argon2id$v=19$m=65536,t=9,p=1$" + salt + "$" + hash, "out of bounds"},
		{"$argon2id$v=19$m=65536,t=0,p=1$" + salt + "$" + hash, "out of bounds"},
		{"$argon2id$v=19$m=65536,t=1,p=0$" + salt + "$" + hash, "out of bounds"},
		{"$argon2id$v=19$m=65536,t=1,p=17$" + salt + "$" + hash, "out of bounds"},
		{"$argon2id$v=19$m=7,t=1,p=1$" + salt + "$" + hash, "out of bounds"},
		{"$argon2id$v=19$m=65536,t=2$" + salt + "$" + hash, "m=,t=,p="},
		{"$argon2id$v=19$m=x,t=2,p=1$" + salt + "$" + hash, "m=,t=,p="},
		{"$argon2id$v=19$t=2,m=65536,p=1$" + salt + "$" + hash, "m=,t=,p="},
		{"$argon2id$v=19$m=65536,t=2,p=1$c29t$" + hash, "damaged"},
		{"$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$QUFB", "damaged"},
		{"$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$!" + hash, "damaged"},
		{"$argon2id$v=19$m=65536,t=2,p=1$" + salt, "none of"},
		{"$7$0$QUFB$QUFB", "rounds"},
		{"$7$99999999$QUFB$QUFB", "rounds"},
		{"$8$x", "none of"},
		{"plain", "none of"},
		{"", "none of"},
	} {
		_, err := parseHash(c.hash)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.hash, err, c.want)
		}
	}
}

func BenchmarkDefaultHash(b *testing.B) {
	h, err := parseHash(HashPassword([]byte("secret")))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		h.matches([]byte("secret"))
	}
}
