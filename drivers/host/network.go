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
// and containers would count the same bytes twice. Interfaces may come and go, and then
// count from zero again; with some drivers (brcmfmac, of a Raspberry Pi's WLAN) and a
// kernel of 32 bits each direction does so behind 4 GiB. The sum never falls.
func (m machine) network(names []string) (source, error) {
	s := source{
		channels: []drivers.Channel{
			{Name: "network_received", Quantity: drivers.DataSize, Unit: "B", Type: drivers.Int, Cumulative: true},
			{Name: "network_sent", Quantity: drivers.DataSize, Unit: "B", Type: drivers.Int, Cumulative: true},
		},
	}
	var before traffic               // of counters that have begun anew
	last := make(map[string]traffic) // what each has counted, by name
	s.read = func() ([]any, error) {
		text, err := m.text("proc/net/dev")
		if err != nil {
			return nil, err
		}
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
			now, was := traffic{int64(r), int64(t)}, last[name]
			if now.received < was.received {
				before.received += was.received
			}
			if now.sent < was.sent {
				before.sent += was.sent
			}
			last[name] = now
			counted++
		}
		switch {
		case counted == 0 && len(names) == 0:
			return nil, errNone
		case counted < len(names):
			return nil, &drivers.MissingError{
				What:  "one of the network interfaces " + strings.Join(names, ", "),
				Check: "`ip link` lists those of this machine",
			}
		}
		sum := before
		for _, t := range last {
			sum = sum.plus(t)
		}
		return []any{sum.received, sum.sent}, nil
	}
	return s, nil
}

// traffic is bytes.
type traffic struct{ received, sent int64 }

func (t traffic) plus(u traffic) traffic { return traffic{t.received + u.received, t.sent + u.sent} }

func (m machine) counts(name string, names []string) bool {
	if len(names) > 0 {
		return slices.Contains(names, name)
	}
	_, err := os.Stat(m.path("sys/class/net", name, "device"))
	return err == nil
}
