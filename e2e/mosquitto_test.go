package e2e_test

import (
	"fmt"
	"net"
	"testing"

	"edgegateway/internal/need"
)

// mosquitto is a real broker in the part of the cloud. It keeps its sessions on
// disk, so that it can be stopped and started.
type mosquitto struct {
	*process
	addr   string
	config string
}

func startMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	return startMosquittoAt(t, need.Port(t), "max_inflight_messages 100")
}

func startMosquittoAt(t *testing.T, addr, settings string) *mosquitto {
	t.Helper()
	need.Program(t, "mosquitto")
	dir := t.TempDir()
	_, port, _ := net.SplitHostPort(addr)
	m := &mosquitto{addr: addr, config: write(t, dir, "mosquitto.conf", fmt.Sprintf(`
listener %s 127.0.0.1
allow_anonymous true
persistence true
persistence_location %s/
autosave_interval 0
max_queued_messages 0
user root
%s
`, port, dir, settings))}
	m.again(t)
	return m
}

// again starts the broker after a stop, at the same port and with its sessions.
func (m *mosquitto) again(t *testing.T) {
	t.Helper()
	m.process = start(t, "mosquitto", "-c", m.config)
}
