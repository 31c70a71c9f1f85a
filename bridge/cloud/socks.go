package cloud

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
)

// The numbers of SOCKS 5 (RFC 1928; login RFC 1929).
const (
	socksVersion  = 5
	socksNoLogin  = 0
	socksPassword = 2
	socksConnect  = 1
	socksIPv4     = 1
	socksName     = 3
	socksIPv6     = 4
)

// socksReplies are the words of RFC 1928, 6.
var socksReplies = [...]string{
	1: "general failure", 2: "not allowed by its rules", 3: "network unreachable", 4: "host unreachable",
	5: "connection refused", 6: "time to live expired", 7: "command not supported", 8: "address type not supported",
}

// openSOCKS is open for SOCKS 5. The proxy looks names up.
func (p *proxy) openSOCKS(conn net.Conn, address string) error {
	methods := []byte{socksVersion, 1, socksNoLogin}
	if p.name != "" {
		methods = []byte{socksVersion, 2, socksNoLogin, socksPassword}
	}
	if _, err := conn.Write(methods); err != nil {
		return err
	}
	var chosen [2]byte
	if _, err := io.ReadFull(conn, chosen[:]); err != nil {
		return fmt.Errorf("it ended the connection: %w", err)
	}
	switch {
	case chosen[0] != socksVersion:
		return fmt.Errorf("it does not answer as a SOCKS 5 proxy (first byte 0x%02X)", chosen[0])
	case chosen[1] == socksPassword && p.name != "":
		if err := p.loginSOCKS(conn); err != nil {
			return err
		}
	case chosen[1] != socksNoLogin:
		return errors.New("it wants a user name and password: see proxy and proxy_password_file")
	}
	ask, err := socksTarget([]byte{socksVersion, socksConnect, 0}, address)
	if err != nil {
		return err
	}
	if _, err := conn.Write(ask); err != nil {
		return err
	}
	return socksAnswer(conn)
}

func (p *proxy) loginSOCKS(conn net.Conn) error {
	if len(p.name) > 255 || len(p.password) > 255 {
		return errors.New("user name and password may have 255 bytes each at a SOCKS proxy")
	}
	login := append([]byte{1, byte(len(p.name))}, p.name...)
	login = append(append(login, byte(len(p.password))), p.password...)
	if _, err := conn.Write(login); err != nil {
		return err
	}
	var verdict [2]byte
	if _, err := io.ReadFull(conn, verdict[:]); err != nil {
		return fmt.Errorf("it ended the connection: %w", err)
	}
	if verdict[1] != 0 {
		return errors.New("it wants another user name or password: see proxy and proxy_password_file")
	}
	return nil
}

// socksTarget appends where to connect to.
func socksTarget(dst []byte, address string) ([]byte, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.Is4():
		dst = append(append(dst, socksIPv4), ip.AsSlice()...)
	case err == nil:
		dst = append(append(dst, socksIPv6), ip.AsSlice()...)
	case len(host) > 255:
		return nil, fmt.Errorf("the name %q is too long for a SOCKS proxy", host)
	default:
		dst = append(append(dst, socksName, byte(len(host))), host...)
	}
	return append(dst, byte(n>>8), byte(n)), nil
}

// socksAnswer reads the answer and the address in it, which nobody needs.
func socksAnswer(conn io.Reader) error {
	var head [5]byte // with the first byte of the address, which may be its length
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return fmt.Errorf("it ended the connection: %w", err)
	}
	if code := head[1]; code != 0 {
		word := "unknown code"
		if int(code) < len(socksReplies) {
			word = socksReplies[code]
		}
		return fmt.Errorf("it refuses: %s (%d)", word, code)
	}
	const port = 2
	rest := map[byte]int{socksIPv4: 4 - 1 + port, socksIPv6: 16 - 1 + port, socksName: int(head[4]) + port}[head[3]]
	if rest == 0 {
		return fmt.Errorf("its answer has an unknown type of address, %d", head[3])
	}
	_, err := io.CopyN(io.Discard, conn, int64(rest))
	return err
}
