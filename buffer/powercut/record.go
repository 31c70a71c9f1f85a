package powercut

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Op is what an event does.
type Op int

const (
	Write Op = iota
	Truncate
	Sync
	Create // or opened, if it is there
	Rename
	Link // a second name
	Remove
	SyncDir
	Report // something was written to somewhere else
	Heard  // something was read from there
)

func (o Op) String() string {
	return [...]string{"write to", "truncate", "sync", "create", "rename", "link", "remove", "sync the directory", "report", "heard"}[o]
}

// Event is one call of the program.
type Event struct {
	Op   Op
	Name string // of the file in the directory; of a Report or Heard, number and description of the descriptor
	To   string // of a Rename or Link
	At   int64  // offset of a Write; size of a Truncate
	Data []byte
}

// Available returns why no program can be recorded here, or nil.
func Available() error {
	if _, err := exec.LookPath("strace"); err != nil {
		return fmt.Errorf("there is no strace (apt install strace)")
	}
	if out, err := exec.Command("strace", "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		return fmt.Errorf("strace may not trace: %v %s", err, out)
	}
	return nil
}

// calls are those that change a directory, tell something, or say what a descriptor
// stands for.
const calls = "read,openat,creat,write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,ftruncate,truncate,fallocate,fsync,fdatasync,sync_file_range,msync,rename,renameat,renameat2,unlink,unlinkat,link,linkat,copy_file_range,sendfile,splice"

// Command returns a command that runs another one such that [Read] can tell what it
// did. trace is a file to be made. Signals for the process that it starts have to be
// sent to that one, which is a child.
func Command(trace string, name string, args ...string) *exec.Cmd {
	flags := []string{"-f", "-qq", "-xx", "-yy", "-s", "4194304", "-e", "signal=none", "-e", "trace=" + calls, "--seccomp-bpf", "-o", trace, name}
	return exec.Command("strace", append(flags, args...)...)
}

// Read returns the events of a trace, in order: a Report from the moment when the
// call began, a Sync and what was Heard from when it had ended. What a program did
// elsewhere is left out, but for what it wrote to, and read from, descriptors that
// reports accepts. A write in which it was killed is as long as the file in dir says,
// where nothing may have changed since.
func Read(trace, dir string, reports func(descriptor string) bool) ([]Event, error) {
	b, err := os.ReadFile(trace)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	p := parser{dir: dir, reports: reports, begun: make(map[string]string), cut: make(map[string]bool), place: make(map[string]int64), open: make(map[string]int)}
	for line := range strings.Lines(string(b)) {
		if err := p.line(strings.TrimSuffix(line, "\n")); err != nil {
			return nil, fmt.Errorf("trace %s: %w", trace, err)
		}
	}
	p.settle()
	return p.events, nil
}
