package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Use is what a process has used while it was looked at.
type Use struct {
	CPU   time.Duration `json:"cpu_ns"`    // user and system time of all threads
	Cores float64       `json:"cores"`     // CPU by time
	RSS   int64         `json:"rss_bytes"` // at the end; 0: not looked at
}

// Uses are both sides of a run. Broker is nil if its process is not known.
type Uses struct {
	Generator Use  `json:"generator"`
	Broker    *Use `json:"broker,omitempty"`
}

// A meter measures this process, and the broker's if it is known.
type meter struct {
	pid         int
	begun       time.Time
	own, broker time.Duration
}

func startMeter(pid int) (*meter, error) {
	m := &meter{pid: pid}
	if pid > 0 {
		var err error
		if m.broker, err = cpuTime(pid); err != nil {
			return nil, err
		}
	}
	m.own = ownCPU()
	m.begun = time.Now()
	return m, nil
}

func (m *meter) stop() (Uses, error) {
	took := time.Since(m.begun)
	use := func(cpu time.Duration) Use { return Use{CPU: cpu, Cores: cpu.Seconds() / took.Seconds()} }
	u := Uses{Generator: use(ownCPU() - m.own)}
	if m.pid > 0 {
		cpu, err := cpuTime(m.pid)
		if err != nil {
			return u, err
		}
		b := use(cpu - m.broker)
		if b.RSS, err = ResidentSize(m.pid); err != nil {
			return u, err
		}
		u.Broker = &b
	}
	return u, nil
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u) // can not fail with these arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// tick is the unit of times in /proc/PID/stat: Linux shows 100 per second on all
// the architectures that Go knows (USER_HZ, proc_pid_stat(5)).
const tick = time.Second / 100

// cpuTime is the user and system time of a process, with its ended threads.
func cpuTime(pid int) (time.Duration, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("look at the broker's process: %w", err)
	}
	// The name, field 2, is in parentheses and may hold anything; 14 and 15 are wanted.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("%s has %d fields behind the name, too few", path, len(fields))
	}
	var sum int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", path, err)
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

// ResidentSize is the memory of a process that is in RAM, in bytes, with what it
// shares (Rss of /proc/PID/smaps_rollup). The kernel's socket buffers are not in it.
func ResidentSize(pid int) (int64, error) {
	path := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("look at the broker's memory: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "Rss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(v, "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", path, err)
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("%s does not tell Rss", path)
}
