package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// A terminal draws whole screens without flicker and reads single keys. Used by one goroutine, except
// restore.
type terminal struct {
	in, out *os.File
	color   bool
	restore func() // gives the terminal back as it was; any goroutine, any number of times
}

// openTerminal takes the terminal over if input and output are one; nil if they are not.
func openTerminal(p *process) (*terminal, error) {
	out, ok := p.stdout.(*os.File)
	if !ok || !term.IsTerminal(int(out.Fd())) || !term.IsTerminal(int(p.stdin.Fd())) || p.getenv("TERM") == "dumb" {
		return nil, nil
	}
	before, err := term.MakeRaw(int(p.stdin.Fd()))
	if err != nil {
		return nil, fmt.Errorf("read single keys: %w", err)
	}
	t := &terminal{in: p.stdin, out: out, color: p.getenv("NO_COLOR") == ""}
	// The alternate screen, without a cursor: what was there before comes back at the end.
	_, _ = io.WriteString(out, "\x1b[?1049h\x1b[?25l\x1b[2J")
	t.restore = sync.OnceFunc(func() {
		_, _ = io.WriteString(out, "\x1b[0m\x1b[?25h\x1b[?1049l")
		_ = term.Restore(int(p.stdin.Fd()), before)
	})
	p.lastWill.Store(&t.restore)
	return t, nil
}

// keys returns what was typed since the last call; it does not wait. A terminal that is gone is an error.
func (t *terminal) keys() ([]byte, error) {
	fds := []unix.PollFd{{Fd: int32(t.in.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	if err != nil || n == 0 {
		return nil, nil // EINTR: the next call sees it
	}
	buf := make([]byte, 64)
	n, err = t.in.Read(buf)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return buf[:n], nil
}

// draw shows lines from the top left; what does not fit is cut. Each line is overwritten in place and only
// its rest is cleared, so nothing blinks.
func (t *terminal) draw(lines []line) {
	width, height := t.size()
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, l := range lines[:min(len(lines), height)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		l.write(&b, width, t.color)
		b.WriteString("\x1b[K")
	}
	b.WriteString("\x1b[J")
	_, _ = io.WriteString(t.out, b.String())
}

func (t *terminal) size() (width, height int) {
	width, height, err := term.GetSize(int(t.out.Fd()))
	if err != nil || width < 1 || height < 1 {
		return 80, 24
	}
	return width, height
}

// A span is a piece of a line in one style: an SGR parameter as in ECMA-48 8.3.117, "" = plain.
type span struct{ style, text string }

const (
	plain  = ""
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

type line []span

// write cuts the line at width columns. All characters that the demo prints are one column wide.
func (l line) write(b *strings.Builder, width int, color bool) {
	for _, s := range l {
		text := []rune(s.text)
		text = text[:min(len(text), width)]
		width -= len(text)
		if color && s.style != plain && len(text) > 0 {
			fmt.Fprintf(b, "\x1b[%sm%s\x1b[0m", s.style, string(text))
			continue
		}
		b.WriteString(string(text))
	}
}

func (l line) width() int {
	n := 0
	for _, s := range l {
		n += len([]rune(s.text))
	}
	return n
}
