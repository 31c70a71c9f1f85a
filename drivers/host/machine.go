package host

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"edgegateway/drivers"
)

// A machine is where /proc and /sys are: "" or "/" for this one.
type machine string

func (m machine) path(elem ...string) string {
	return filepath.Join(append([]string{"/", string(m)}, elem...)...)
}

// text reads a file of /proc or /sys. One that is not there, or that a sandbox
// hides, gives errNone.
func (m machine) text(elem ...string) (string, error) {
	text, err := drivers.ReadKernelFile(m.path(elem...))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", fmt.Errorf("%w: %w", errNone, err)
	}
	return text, err
}

// load reads the load averages, proc_loadavg(5).
func (m machine) load() (source, error) {
	return source{
		channels: []drivers.Channel{
			{Name: "load_1m", Quantity: drivers.LoadAverage, Type: drivers.Float},
			{Name: "load_5m", Quantity: drivers.LoadAverage, Type: drivers.Float},
			{Name: "load_15m", Quantity: drivers.LoadAverage, Type: drivers.Float},
		},
		read: func() ([]any, error) {
			text, err := m.text("proc/loadavg")
			if err != nil {
				return nil, err
			}
			fields := strings.Fields(text)
			values := make([]any, 3)
			for i := range values {
				if len(fields) < 3 {
					return nil, fmt.Errorf("read /proc/loadavg: %q is too short", text)
				}
				if values[i], err = strconv.ParseFloat(fields[i], 64); err != nil {
					return nil, fmt.Errorf("read /proc/loadavg: %w", err)
				}
			}
			return values, nil
		},
	}, nil
}

// memory reads what programs can have and have, proc_meminfo(5). Its kB are KiB.
func (m machine) memory() (source, error) {
	return source{
		channels: []drivers.Channel{
			{Name: "memory_total", Quantity: drivers.DataSize, Unit: "B", Type: drivers.Int},
			{Name: "memory_available", Quantity: drivers.DataSize, Unit: "B", Type: drivers.Int},
			{Name: "memory_used", Quantity: drivers.Ratio, Unit: "%", Type: drivers.Float},
		},
		read: func() ([]any, error) {
			text, err := m.text("proc/meminfo")
			if err != nil {
				return nil, err
			}
			kib := keyed(text)
			total, available := kib["MemTotal"], kib["MemAvailable"]
			if _, known := kib["MemAvailable"]; !known { // before Linux 3.14
				available = kib["MemFree"] + kib["Buffers"] + kib["Cached"]
			}
			if total <= 0 || available > total {
				return nil, fmt.Errorf("read /proc/meminfo: %d kB available of %d kB cannot be", available, total)
			}
			return []any{total * 1024, available * 1024, percent(total-available, total)}, nil
		},
	}, nil
}

// uptime reads how long the kernel runs, proc_uptime(5).
func (m machine) uptime() (source, error) {
	return source{
		channels: []drivers.Channel{{Name: "uptime", Quantity: drivers.DurationQ, Unit: "s", Type: drivers.Int, Cumulative: true}},
		read: func() ([]any, error) {
			text, err := m.text("proc/uptime")
			if err != nil {
				return nil, err
			}
			seconds, _, _ := strings.Cut(text, " ")
			up, err := strconv.ParseFloat(seconds, 64)
			if err != nil {
				return nil, fmt.Errorf("read /proc/uptime: %w", err)
			}
			return []any{int64(up)}, nil
		},
	}, nil
}

// process reads the memory that this process occupies, proc_pid_status(5).
func (m machine) process() (source, error) {
	return source{
		channels: []drivers.Channel{{Name: "gateway_memory", Quantity: drivers.DataSize, Unit: "B", Type: drivers.Int}},
		read: func() ([]any, error) {
			text, err := m.text("proc/self/status")
			if err != nil {
				return nil, err
			}
			rss, ok := keyed(text)["VmRSS"]
			if !ok {
				return nil, errNone
			}
			return []any{rss * 1024}, nil
		},
	}, nil
}

// keyed reads lines of "Key:   123 kB", and passes over all others.
func keyed(text string) map[string]int64 {
	values := make(map[string]int64)
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		key, rest, ok := strings.Cut(lines.Text(), ":")
		number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if n, err := strconv.ParseInt(number, 10, 64); ok && err == nil {
			values[key] = n
		}
	}
	return values
}

// percent gives a share with one decimal: more would be noise.
func percent(part, whole int64) float64 {
	return float64(int64(float64(part)/float64(whole)*1000+0.5)) / 10
}
