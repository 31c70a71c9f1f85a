package packet_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"edgegateway/broker/packet"
)

// wire turns a readable packet into bytes. Digits are hexadecimal bytes, "text"
// is a string with its two bytes of length, and [ ... ] is a list with its length
// before it as a variable byte integer: a body with its Remaining Length, or
// properties with their Property Length.
func wire(t testing.TB, s string) []byte {
	t.Helper()
	b, rest := wireList(t, s)
	if rest != "" {
		t.Fatalf("wire(%s): a ] too many", s)
	}
	return b
}

func wireList(t testing.TB, s string) (b []byte, rest string) {
	t.Helper()
	for {
		s = strings.TrimLeft(s, " ")
		switch {
		case s == "" || s[0] == ']':
			return b, s
		case s[0] == '[':
			list, rest := wireList(t, s[1:])
			if !strings.HasPrefix(rest, "]") {
				t.Fatalf("wire: a ] is missing in %q", s)
			}
			b = append(varint(b, len(list)), list...)
			s = rest[1:]
		case s[0] == '"':
			text, rest, _ := strings.Cut(s[1:], `"`)
			b = append(b, byte(len(text)>>8), byte(len(text)))
			b = append(b, text...)
			s = rest
		default:
			end := strings.IndexAny(s, ` []"`)
			if end < 0 {
				end = len(s)
			}
			x, err := hex.DecodeString(s[:end])
			if err != nil {
				t.Fatalf("wire(%q): %v", s[:end], err)
			}
			b, s = append(b, x...), s[end:]
		}
	}
}

func varint(b []byte, n int) []byte {
	for n > 127 {
		b, n = append(b, byte(n)|128), n>>7
	}
	return append(b, byte(n))
}

// one decodes bytes that hold exactly one packet.
func one(t testing.TB, d *packet.Decoder, b []byte) packet.Packet {
	t.Helper()
	p, n, need, err := d.Next(b)
	if err != nil || p == nil {
		t.Fatalf("decode % x = %v, need %d, error %v", b, p, need, err)
	}
	if n != len(b) {
		t.Fatalf("decode % x took %d of %d bytes", b, n, len(b))
	}
	return p
}

// refusal returns the typed error of a decoder that must refuse b.
func refusal(t testing.TB, d *packet.Decoder, b []byte) *packet.Error {
	t.Helper()
	p, n, need, err := d.Next(b)
	if err == nil {
		t.Fatalf("decode % x = %#v, %d bytes, need %d; want a refusal", b, p, n, need)
	}
	var e *packet.Error
	if !errors.As(err, &e) {
		t.Fatalf("decode % x: error %T is not *packet.Error", b, err)
	}
	if p != nil || n != 0 {
		t.Errorf("decode % x: refused and yet a packet %v of %d bytes", b, p, n)
	}
	return e
}
