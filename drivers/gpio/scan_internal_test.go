package gpio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// told is a chip as the kernel tells of it.
type told struct {
	name, label string
	lines       []unix.GPIOV2LineInfo
	err         error
}

func (c told) info() (info unix.GPIOChipInfo, err error) {
	copy(info.Name[:], c.name)
	copy(info.Label[:], c.label)
	info.Lines = uint32(len(c.lines))
	return info, c.err
}
func (c told) line(offset uint32) (unix.GPIOV2LineInfo, error) { return c.lines[offset], nil }
func (told) Close() error                                      { return nil }

func info(name, user string, flags uint64) (l unix.GPIOV2LineInfo) {
	copy(l.Name[:], name)
	copy(l.Consumer[:], user)
	l.Flags = flags
	return l
}

func TestAScanTellsWhoHasALine(t *testing.T) {
	const in, out, used = 1 << 2, 1 << 3, 1 << 0 // enum gpio_v2_line_flag of linux/gpio.h
	board := told{name: "gpiochip0", label: "pinctrl-bcm2711", lines: []unix.GPIOV2LineInfo{
		info("ID_SDA", "", in), info("GPIO17", "gateway", used|out), info("", "", in), info("GPIO4", "", used|in), info("42", "", in), info("SAME", "", in),
	}}
	expander := told{name: "gpiochip2", label: "20-0020", lines: []unix.GPIOV2LineInfo{info("SAME", "", out)}}
	chips := map[string]told{
		"/dev/gpiochip0": board, "/dev/gpiochip4": board, "/dev/gpiochip2": expander,
		"/dev/gpiochip3": {err: syscall.ENOTTY}, "/dev/gpiochip5": {err: syscall.EACCES},
	}
	got, err := scan(t.Context(), []string{"/dev/gpiochip2", "/dev/gpiochip0", "/dev/gpiochip3", "/dev/gpiochip4", "/dev/gpiochip5"},
		func(path string) (reader, error) { return chips[path], nil })
	want := []FoundChip{
		{"gpiochip0", "pinctrl-bcm2711", []FoundLine{
			{"ID_SDA", 0, "ID_SDA", false, false, ""}, {"GPIO17", 1, "GPIO17", true, true, "gateway"}, {"pinctrl-bcm2711:2", 2, "", false, false, ""},
			{"GPIO4", 3, "GPIO4", false, true, ""}, {"pinctrl-bcm2711:4", 4, "42", false, false, ""}, {"SAME", 5, "SAME", false, false, ""},
		}},
		{"gpiochip2", "20-0020", []FoundLine{{"20-0020:0", 0, "SAME", true, false, ""}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, part := range []string{"/dev/gpiochip3: its lines cannot be listed", "open /dev/gpiochip5: permission denied; add the gateway's user to the group gpio"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in %v", part, err)
		}
	}
	said := fmt.Sprint(got[0].Lines[0], "; ", got[0].Lines[1], "; ", got[0].Lines[3])
	if said != `input; output, used by "gateway"; input, used by the kernel or a program that gives no name` {
		t.Error(said)
	}
	for name, want := range map[string]string{
		"ID_SDA": "", "pinctrl-bcm2711:2": "", "gpiochip2:0": "",
		"GPIO17":      "", // the gateway that runs has it
		"GPIO4":       "the GPIO line GPIO4 cannot be had now: it is an input, used by the kernel or a program that gives no name",
		"gpiochip0:3": "the GPIO line gpiochip0:3 cannot be had now: it is an input, used by the kernel or a program that gives no name",
	} {
		if got := have(got, nil, name); fmt.Sprint(got) != want && (got != nil || want != "") {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
	if err := have(got, nil, "GPIO99"); err == nil || !strings.Contains(err.Error(), "lists the lines of gpiochip0 (pinctrl-bcm2711, 6 lines), gpiochip2 (20-0020, 1 lines)") {
		t.Errorf("a line that is not there: %v", err)
	}
	if err := have(nil, syscall.EACCES, "GPIO17"); err != syscall.EACCES {
		t.Errorf("chips that may not be opened: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := scan(ended, []string{"/dev/gpiochip0"}, func(path string) (reader, error) { return board, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a scan that is ended: %v", err)
	}
}

// Two expanders of a type have the same label: the driver mcp23s08 gives all of them
// "mcp23017". A relay on the one must not be taken for one on the other.
func TestALabelOfTwoChipsMeansNone(t *testing.T) {
	chips := map[string]told{}
	var paths []string
	for _, name := range []string{"gpiochip1", "gpiochip2"} {
		path := "/dev/" + name
		paths = append(paths, path)
		chips[path] = told{name: name, label: "mcp23017", lines: []unix.GPIOV2LineInfo{info("", "", 0), info("", "", 0)}}
	}
	got, err := scan(t.Context(), paths, func(path string) (reader, error) { return chips[path], nil })
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range got {
		for _, l := range c.Lines {
			if want := fmt.Sprintf("%s:%d", c.Name, l.Offset); l.Pin != want {
				t.Errorf("the scan says %s and means %s", l.Pin, want)
			}
			if err := have(got, nil, got[i].Lines[0].Pin); err != nil {
				t.Error(err)
			}
		}
	}
	if err := have(got, nil, "mcp23017:1"); err == nil || !strings.Contains(err.Error(), "may be gpiochip1:1 or gpiochip2:1, because") {
		t.Errorf("a label that two have: %v", err)
	}
	if err := have(got[:1], nil, "mcp23017:1"); err != nil {
		t.Errorf("a label that one has: %v", err)
	}
}

// An expander that is plugged in again has another number, or another one has its number.
func TestAChipByTheKernelsCountIsNotTakenForAnother(t *testing.T) {
	lines := make([]string, 8)
	soc := chip{path: "/dev/gpiochip0", name: "gpiochip0", label: "pinctrl-bcm2711", lines: lines}
	expander := chip{path: "/dev/gpiochip2", name: "gpiochip2", label: "mcp23017", lines: lines}
	meant := make(labels)
	for _, c := range []struct {
		name, of, label, want string
	}{
		{"gpiochip2:3", "gpiochip2", "mcp23017", ""},
		{"gpiochip2:4", "gpiochip2", "mcp23017", ""}, // plugged in again
		{"gpiochip2:3", "gpiochip2", "pcf8574", `the GPIO line "gpiochip2:3" was one of the chip mcp23017, and gpiochip2 is pcf8574 now: the kernel counts chips anew when they are plugged in; write "mcp23017:3"`},
		{"pcf8574:3", "gpiochip2", "pcf8574", ""},
		{"GPIO17", "gpiochip0", "pinctrl-bcm2711", ""},
		{"gpiochip2:3", "gpiochip2", "mcp23017", ""}, // it is back
	} {
		if err := meant.check(chip{name: c.of, label: c.label}, c.name); (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%s on %s: %v, want %q", c.name, c.label, err, c.want)
		}
	}
	for _, c := range []struct {
		chips []chip
		name  string
		want  string
	}{
		{[]chip{soc}, "gpiochip2:3", "the kernel counts chips anew when they are plugged in, so write \"mcp23017:3\"; `gateway devices -scan` lists the lines of gpiochip0 (pinctrl-bcm2711, 8 lines)"},
		{[]chip{soc}, "gpiochip5:3", "so write \"LABEL:3\"; `gateway"},
		{[]chip{soc, expander}, "gpiochip2:8", "is not there; `gateway devices -scan` lists"}, // it has no such line
		{[]chip{soc}, "GPIO99", "is not there; `gateway devices -scan` lists"},
	} {
		if err := noLine(c.chips, c.name, meant); !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

func TestAScanOfAMachineWithoutLines(t *testing.T) {
	root := t.TempDir()
	if chips, err := Scan(t.Context(), root); len(chips) > 0 || err == nil || !strings.Contains(err.Error(), "/dev/gpiochip0") {
		t.Errorf("%v, %v", chips, err)
	}
	if err := os.Mkdir(filepath.Join(root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "dev/gpiochip0"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if chips, err := Scan(t.Context(), root); len(chips) > 0 || err == nil || !strings.Contains(err.Error(), "older than 5.10") {
		t.Errorf("a file that is no chip: %v, %v", chips, err)
	}
}
