package host

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"edgegateway/drivers"
)

// network adds up the bytes of interfaces since the kernel started, proc_pid_net(5).
// Without names these are the ones that have a device behind them: bridges, tunnels
// and containers would count the same bytes twice. Interfaces may come and go.
func (m machine) network(names []string) (source, error) {
	s := source{
		channels: []drivers.Channel{
			{Name: "network_received", Quantity: drivers.DataSize, Unit: "B", Type: drivers.Int, Cumulative: true},
			{Name: "network_sent", Quantity: drivers.DataSize, Unit: "B", Type: drivers.Int, Cumulative: true},
		},
	}
	s.read = func() ([]any, error) {
		text, err := m.text("proc/net/dev")
		if err != nil {
			return nil, err
		}
		var received, sent int64
		counted := 0
		for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
			name, rest, ok := strings.Cut(lines.Text(), ":")
			name = strings.TrimSpace(name)
			fields := strings.Fields(rest)
			if !ok || len(fields) < 9 || !m.counts(name, names) {
				continue
			}
			r, err := strconv.ParseUint(fields[0], 10, 63)
			if err != nil {
				return nil, fmt.Errorf("read /proc/net/dev: %w", err)
			}
			t, err := strconv.ParseUint(fields[8], 10, 63)
			if err != nil {
				return nil, fmt.Errorf("read /proc/net/dev: %w", err)
			}
			received, sent, counted = received+int64(r), sent+int64(t), counted+1
		}
		switch {
		case counted == 0 && len(names) == 0:
			return nil, errNone
		case counted < len(names):
			// A sum without one of them would look as if the counters had started anew.
			return nil, &drivers.MissingError{
				What:  "one of the network interfaces " + strings.Join(names, ", "),
				Check: "`ip link` lists those of this machine",
			}
		}
		return []any{received, sent}, nil
	}
	return s, nil
}

func (m machine) counts(name string, names []string) bool {
	if len(names) > 0 {
		return slices.Contains(names, name)
	}
	_, err := os.Stat(m.path("sys/class/net", name, "device"))
	return err == nil
}
