package broker

import (
	"bufio"
	"crypto/pbkdf2"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"edgegateway/broker/packet"
)

// authenticate decides whether a client may connect with the name and password
// that it gave, or the certificate that it showed.
func (d *door) authenticate(c *conn, p *packet.Connect) (packet.ReasonCode, string) {
	if d.config.TLS.Identity == "cn" {
		name, ok := commonName(c)
		if !ok {
			return packet.BadUserNameOrPassword, "the client certificate has no common name"
		}
		c.username, c.verified = name, true
		return packet.Success, ""
	}
	if !p.UsernameFlag {
		if d.anonymous {
			return packet.Success, ""
		}
		return packet.NotAuthorized, "a user name is needed here"
	}
	if d.passwords == nil {
		if d.anonymous { // nobody asked for the name
			return packet.Success, ""
		}
		return packet.BadUserNameOrPassword, "no password file is configured for this listener"
	}
	if !d.passwords.check(p.Username, p.Password) {
		return packet.BadUserNameOrPassword, "wrong user name or password"
	}
	c.verified = true
	return packet.Success, ""
}

func commonName(c *conn) (string, bool) {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return "", false
	}
	chain := t.ConnectionState().PeerCertificates
	if len(chain) == 0 || chain[0].Subject.CommonName == "" {
		return "", false
	}
	return chain[0].Subject.CommonName, true
}

// passwords are the hashes of a password file by user name.
type passwords map[string]passwordHash

// passwordHash is $7$ (PBKDF2 with SHA-512) or, with rounds 0, $6$ (SHA-512 over
// password and salt), as mosquitto_passwd writes them.
type passwordHash struct {
	rounds int
	salt   []byte
	hash   []byte
}

// maxRounds keeps a wrong file from making every CONNECT cost seconds.
const maxRounds = 10_000_000

func readPasswords(path string) (passwords, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read password_file: %w", err)
	}
	defer f.Close()
	list := make(passwords)
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimRight(lines.Text(), " \t\r")
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s:%d: the line is not user:hash (make it with mosquitto_passwd)", path, n)
		}
		h, err := parseHash(hash)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: user %q: %w", path, n, name, err)
		}
		list[name] = h
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read password_file %s: %w", path, err)
	}
	return list, nil
}

func parseHash(s string) (h passwordHash, err error) {
	parts := strings.Split(s, "$") // "", "7", rounds, salt, hash
	switch {
	case len(parts) == 5 && parts[0] == "" && parts[1] == "7":
		h.rounds, err = strconv.Atoi(parts[2])
		if err != nil || h.rounds < 1 || h.rounds > maxRounds {
			return h, fmt.Errorf("the rounds of the hash must be from 1 to %d", maxRounds)
		}
		parts = parts[3:]
	case len(parts) == 4 && parts[0] == "" && parts[1] == "6":
		parts = parts[2:]
	default:
		return h, errors.New("the hash is neither $7$ nor $6$ (make it with mosquitto_passwd)")
	}
	h.salt, err = base64.StdEncoding.DecodeString(parts[0])
	if err == nil {
		h.hash, err = base64.StdEncoding.DecodeString(parts[1])
	}
	if err != nil || len(h.salt) == 0 || len(h.hash) != sha512.Size {
		return h, errors.New("salt or hash is damaged (make it anew with mosquitto_passwd)")
	}
	return h, nil
}

// check takes the same time for a user who is not there, so that names can not be
// guessed.
func (p passwords) check(name string, password []byte) bool {
	h, known := p[name]
	if !known {
		for _, h = range p {
			break
		}
		if h.hash == nil {
			return false
		}
	}
	return h.matches(password) && known
}

func (h *passwordHash) matches(password []byte) bool {
	var got []byte
	if h.rounds == 0 {
		sum := sha512.Sum512(append(append([]byte(nil), password...), h.salt...))
		got = sum[:]
	} else {
		var err error
		if got, err = pbkdf2.Key(sha512.New, string(password), h.salt, h.rounds, sha512.Size); err != nil {
			return false
		}
	}
	return subtle.ConstantTimeCompare(got, h.hash) == 1
}
