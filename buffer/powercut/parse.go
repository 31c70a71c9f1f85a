package powercut

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// parser reads the lines of strace.
type parser struct {
	dir     string
	reports func(descriptor string) bool
	begun   map[string]string // by process, calls that have not ended
	cut     map[string]bool   // by process, whether its last call was not written down whole
	place   map[string]int64  // by file, where the next write or copy begins; as if it were open once
	events  []Event
	pid     string         // of the line
	open    map[string]int // by process, the write that has begun and not ended
}

const unfinished = " <unfinished ...>"

func (p *parser) line(line string) error {
	pid, rest, ok := strings.Cut(line, " ")
	rest = strings.TrimLeft(rest, " ")
	p.pid = pid
	switch {
	case !ok || strings.HasPrefix(rest, "+++") || strings.HasPrefix(rest, "---"):
		return nil
	case p.cut[pid]:
		return fmt.Errorf("%.80q follows on a call of which the end is missing", rest)
	case strings.HasPrefix(rest, "<... "):
		_, tail, _ := strings.Cut(rest, " resumed>")
		rest = p.begun[pid] + tail
		delete(p.begun, pid)
		if strings.Contains(tail, unfinished) {
			return nil // it was killed
		}
		return p.call(rest, false, true)
	case strings.Contains(rest, unfinished):
		rest, _, _ = strings.Cut(rest, unfinished)
		p.begun[pid] = rest
		return p.call(rest+") = ?", true, false)
	case !returned.MatchString(rest):
		p.cut[pid] = true // the kill came while it was written down
		return nil
	}
	return p.call(rest, true, true)
}

// returned is between the arguments of a call and what it returned. Names and data
// are in hexadecimal, so that nothing in them looks like it.
var returned = regexp.MustCompile(`\) += `)

// call takes in a call, at its begin, its end, or both.
func (p *parser) call(text string, begins, ends bool) error {
	name, rest, ok := strings.Cut(text, "(")
	if !ok {
		return fmt.Errorf("%.80q is no call", text)
	}
	end := returned.FindStringIndex(rest)
	if end == nil {
		return fmt.Errorf("%.80q has no end", text)
	}
	failed := strings.HasPrefix(rest[end[1]:], "-1 ")
	args := strings.Split(rest[:end[0]], ", ")
	switch name {
	case "write", "pwrite64", "sendto":
		var err error
		if begins && !failed {
			err = p.write(name, args)
		}
		if ends && !strings.HasPrefix(rest[end[1]:], "?") {
			delete(p.open, p.pid)
		}
		return err
	case "writev", "pwritev", "pwritev2", "sendmsg":
		if _, inside := p.name(args[0]); !inside && begins && p.reports(describe(args[0])) {
			return fmt.Errorf("%s is not understood", name)
		} else if inside {
			return fmt.Errorf("%s is not understood", name)
		}
		return nil
	}
	if !ends || failed {
		return nil
	}
	switch name {
	case "read":
		return p.read(args)
	case "copy_file_range":
		return p.copy(args, rest[end[1]:])
	}
	return p.change(name, args)
}

func (p *parser) write(name string, args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("%s has %d arguments", name, len(args))
	}
	file, inside := p.name(args[0])
	if !inside && !p.reports(describe(args[0])) {
		return nil
	}
	data, err := unescape(args[1])
	if err != nil {
		return err
	}
	if !inside {
		p.events = append(p.events, Event{Op: Report, Name: describe(args[0]), Data: data})
		return nil
	}
	at := p.place[file]
	switch name {
	case "write":
		p.place[file] += int64(len(data))
	case "pwrite64":
		if at, err = strconv.ParseInt(args[3], 10, 64); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s to %s: it is not known where", name, file)
	}
	p.open[p.pid] = len(p.events)
	p.events = append(p.events, Event{Op: Write, Name: file, At: at, Data: data})
	return nil
}

// settle looks how far the writes came in which the program was killed.
func (p *parser) settle() {
	for _, i := range p.open {
		e := &p.events[i]
		b, _ := os.ReadFile(filepath.Join(p.dir, e.Name)) // none: it did not come far
		b = b[min(e.At, int64(len(b))):]
		n := 0
		for n < min(len(e.Data), len(b)) && e.Data[n] == b[n] {
			n++
		}
		e.Data = e.Data[:n]
	}
}

func (p *parser) read(args []string) error {
	if _, inside := p.name(args[0]); inside || !p.reports(describe(args[0])) {
		return nil
	}
	data, err := unescape(args[1])
	if err == nil && len(data) > 0 {
		p.events = append(p.events, Event{Op: Heard, Name: describe(args[0]), Data: data})
	}
	return err
}

// copy takes in a copy_file_range from a file elsewhere, which has to be there still.
func (p *parser) copy(args []string, returned string) error {
	to, inside := p.name(args[2])
	_, from, _ := strings.Cut(describe(args[0]), " ")
	if _, both := p.name(args[0]); both || inside && (args[1] != "NULL" || args[3] != "NULL") {
		return fmt.Errorf("copy_file_range to %s is not understood", to)
	}
	n, err := strconv.ParseInt(strings.Fields(returned)[0], 10, 64)
	if err != nil || !inside || n == 0 {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	at := p.place[from]
	if at+n > int64(len(b)) {
		return fmt.Errorf("%s was copied, and is shorter now", from)
	}
	p.events = append(p.events, Event{Op: Write, Name: to, At: p.place[to], Data: b[at : at+n]})
	p.place[from] += n
	p.place[to] += n
	return nil
}

// change takes in a call that has ended, and is no write.
func (p *parser) change(name string, args []string) error {
	add := func(e Event) { p.events = append(p.events, e) }
	path := func(i int) (string, bool) {
		b, err := unescape(args[i])
		return p.inside(string(b)), err == nil && p.inside(string(b)) != ""
	}
	switch name {
	case "openat":
		file, ok := path(1)
		if ok && strings.Contains(args[2], "O_APPEND") {
			return fmt.Errorf("%s is opened with O_APPEND, which is not understood", file)
		}
		if ok {
			p.place[file] = 0
		}
		if ok && strings.Contains(args[2], "O_CREAT") {
			add(Event{Op: Create, Name: file})
		}
		if ok && strings.Contains(args[2], "O_TRUNC") {
			add(Event{Op: Truncate, Name: file})
		}
	case "ftruncate":
		if file, ok := p.name(args[0]); ok {
			size, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil {
				return err
			}
			add(Event{Op: Truncate, Name: file, At: size})
		}
	case "fsync", "fdatasync":
		file, ok := p.name(args[0])
		switch {
		case ok && file == ".":
			add(Event{Op: SyncDir})
		case ok:
			add(Event{Op: Sync, Name: file})
		}
	case "renameat", "renameat2", "rename", "linkat", "link":
		from, to, op := 1, 3, Rename
		if name == "rename" || name == "link" {
			from, to = 0, 1
		}
		if strings.HasPrefix(name, "link") {
			op = Link
		}
		a, inA := path(from)
		b, inB := path(to)
		if inA != inB {
			return fmt.Errorf("%s across the border of the directory", name)
		}
		if inA {
			add(Event{Op: op, Name: a, To: b})
		}
	case "unlinkat", "unlink":
		at := len(args) - 2
		if name == "unlink" {
			at = 0
		}
		if file, ok := path(at); ok {
			add(Event{Op: Remove, Name: file})
		}
	default:
		if file, ok := p.name(args[0]); ok {
			return fmt.Errorf("%s of %s is not understood", name, file)
		}
	}
	return nil
}

// inside returns the name of a path in the directory: "." for itself, "" if it is
// not in it.
func (p *parser) inside(path string) string {
	rel, err := filepath.Rel(p.dir, path)
	if err != nil || strings.Contains(rel, "/") || rel == ".." {
		return ""
	}
	return rel
}

// name returns the file of a descriptor, 5</path>.
func (p *parser) name(arg string) (string, bool) {
	_, d, _ := strings.Cut(describe(arg), " ")
	if !strings.HasPrefix(d, "/") {
		return "", false
	}
	name := p.inside(d)
	return name, name != ""
}

// describe returns a descriptor as a number, a blank, and what strace says of it.
func describe(arg string) string {
	number, d, _ := strings.Cut(arg, "<")
	d = strings.TrimSuffix(d, ">")
	if b, err := unescape(d); err == nil {
		d = string(b)
	}
	return number + " " + d
}

// unescape reads text of which every byte is written as \x00, in quotes or not.
func unescape(s string) ([]byte, error) {
	if strings.HasSuffix(s, "...") {
		return nil, fmt.Errorf("a write of more than strace was told to show")
	}
	s = strings.Trim(s, `"`)
	return hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
}
