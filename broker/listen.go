package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

// Listen opens the socket of a listener, if its files are as they must be. The address
// of the result tells the port that was taken for port 0.
func Listen(l ListenerConfig) (net.Listener, error) {
	if err := l.Validate(); err != nil {
		return nil, fmt.Errorf("listener %s: %w", l.Address, err)
	}
	if err := l.CheckFiles(); err != nil {
		return nil, fmt.Errorf("listener %s: %w", l.Address, err)
	}
	scheme, rest, _ := strings.Cut(l.Address, "://")
	switch scheme {
	case "unix":
		return listenUnix(rest)
	case "tls", "wss":
		cfg, err := tlsConfig(l.TLS)
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Address, err)
		}
		ln, err := listenTCP(rest)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", l.Address, plain(err))
		}
		return tls.NewListener(ln, cfg), nil
	}
	ln, err := listenTCP(rest)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", l.Address, plain(err))
	}
	return ln, nil
}

// plain leaves out of an error of the network what its sentence says anyway: the address
// and the call.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "listen" {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}

// listenUnix opens a socket file. One that is left over from a process that was
// killed is removed; one where somebody answers is not.
func listenUnix(path string) (net.Listener, error) {
	ln, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if nc, dialErr := net.Dial("unix", path); dialErr == nil {
			nc.Close()
			return nil, fmt.Errorf("listen on %s: another process is listening there", path)
		}
		info, statErr := os.Lstat(path)
		if statErr != nil || info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("listen on %s: the path is taken, and not by a socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("listen on %s: remove what an earlier run has left: %w", path, err)
		}
		ln, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, plain(err))
	}
	return ln, nil
}

func tlsConfig(t TLSConfig) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("load tls.cert and tls.key: %w", err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if t.ClientCA != "" {
		pem, err := os.ReadFile(t.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("load tls.client_ca: %w", err)
		}
		cfg.ClientCAs = x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("load tls.client_ca: %s holds no certificate in PEM", t.ClientCA)
		}
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return cfg, nil
}
