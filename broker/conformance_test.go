package broker_test

import (
	"bytes"
	"cmp"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var updateConformance = flag.Bool("update", false, "write docs/conformance.md")

//go:embed testdata/mqtt-3.1.1.txt
var statements311 string

//go:embed testdata/mqtt-5.0.txt
var statements5 string

// statement is one numbered demand of a standard.
type statement struct {
	number  string // as 3.3.1-5
	binds   string // server, client or both
	demands string
	why     string // "n/a: ..." or "open: ..."; "" if it needs a test
	tests   []string
}

// standard is the statements of one version, in the order of its appendix.
type standard struct {
	title  string
	prefix string // of its markers
	list   []*statement
	index  map[string]*statement
}

func readStandard(t *testing.T, title, prefix, text string) *standard {
	t.Helper()
	s := &standard{title: title, prefix: prefix, index: map[string]*statement{}}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, " | ")
		if len(fields) < 3 || len(fields) > 4 || !slices.Contains([]string{"server", "client", "both"}, fields[1]) {
			t.Fatalf("MQTT %s: the line is not number | server, client or both | demand [| why]: %s", title, line)
		}
		st := &statement{number: fields[0], binds: fields[1], demands: fields[2]}
		if len(fields) == 4 {
			st.why = fields[3]
			if kind, reason, _ := strings.Cut(st.why, ": "); reason == "" || kind != "n/a" && kind != "open" {
				t.Errorf("MQTT %s, %s: %q is neither n/a nor open with a reason", title, st.number, st.why)
			}
		}
		if s.index[st.number] != nil {
			t.Errorf("MQTT %s: %s stands there twice", title, st.number)
		}
		s.list, s.index[st.number] = append(s.list, st), st
	}
	return s
}

// Every statement of both standards that binds a server has a test, a reason why it
// does not apply, or is called open; and docs/conformance.md says so.
//
// A test names a statement by a marker in a comment or a string: the number in
// square brackets, with "v3 " before it for 3.1.1. In a table of cases the marker
// stands inside of the case, behind it on its last line, or on the lines above it.
func TestConformance(t *testing.T) {
	v3 := readStandard(t, "3.1.1", "v3 ", statements311)
	v5 := readStandard(t, "5.0", "", statements5)
	for _, m := range findMarkers(t, "..") {
		s := v5
		if m.v3 {
			s = v3
		}
		st := s.index[m.number]
		switch {
		case st == nil:
			t.Errorf("%s: MQTT %s has no statement %s", m.at, s.title, m.number)
		case m.test == "":
		case st.why != "":
			t.Errorf("%s: %s of MQTT %s has a test, and is yet listed as %q", m.at, m.number, s.title, st.why)
		case !slices.Contains(st.tests, m.test):
			st.tests = append(st.tests, m.test)
		}
	}
	for _, s := range []*standard{v3, v5} {
		for _, st := range s.list {
			if st.binds != "client" && st.why == "" && len(st.tests) == 0 {
				t.Errorf("[%sMQTT-%s] has no test, no reason why not, and is not called open: %s", s.prefix, st.number, st.demands)
			}
		}
	}
	if t.Failed() {
		return
	}
	path := filepath.Join("..", "docs", "conformance.md")
	want := conformancePage(v3, v5)
	if *updateConformance {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/conformance.md is not what the tests say (%v); run: go test ./broker -run TestConformance -update", err)
	}
}

func conformancePage(standards ...*standard) []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, "# Conformance\n\n"+
		"Made by `go test ./broker -run TestConformance -update` from the lists in `broker/testdata` and the\n"+
		"markers in the tests; CI fails when it is not up to date. Do not edit it.\n\n"+
		"The numbers are those of appendix B of each OASIS standard; the words are ours and short: what\n"+
		"counts is the standard. \"suite\" is the suite in `broker/brokertest`. It runs over TCP, unix sockets, TLS\n"+
		"and WebSocket, and against Mosquitto, and each case in MQTT 3.1, 3.1.1 and 5.0 unless it is about one\n"+
		"of them. A client's duty is none of the broker's; what the broker does when a client fails in it stands\n"+
		"there where it is tested.\n\n"+
		"| | statements | tested | not applicable | open | a client's duty, not tested |\n|---|--:|--:|--:|--:|--:|\n")
	for _, s := range standards {
		n := map[string]int{}
		for _, st := range s.list {
			n[st.state()]++
		}
		fmt.Fprintf(&b, "| MQTT %s | %d | %d | %d | %d | %d |\n", s.title, len(s.list), n["tested"], n["n/a"], n["open"], n["client"])
	}
	for _, s := range standards {
		fmt.Fprintf(&b, "\n## MQTT %s\n\n| number | binds | what it demands | tests |\n|---|---|---|---|\n", s.title)
		for _, st := range s.list {
			var shown string
			_, reason, _ := strings.Cut(st.why, ": ")
			switch st.state() {
			case "tested":
				shown = strings.Join(st.tests, "<br>")
			case "n/a":
				shown = "*not applicable*: " + reason
			case "open":
				shown = "**open**: " + reason
			case "client":
				shown = "*a client's duty*"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", st.number, st.binds, st.demands, strings.ReplaceAll(shown, "|", `\|`))
		}
	}
	return b.Bytes()
}

func (st *statement) state() string {
	switch {
	case len(st.tests) > 0:
		return "tested"
	case st.why != "":
		kind, _, _ := strings.Cut(st.why, ":")
		return kind
	}
	return "client"
}

// compareMarkers puts what is read in the order of the page: by file and line.
func compareMarkers(a, b marker) int {
	return cmp.Or(strings.Compare(a.file, b.file), cmp.Compare(a.line, b.line))
}
