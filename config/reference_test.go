package config_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/bits"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"edgegateway/config"
	"edgegateway/config/strict"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

const reference = "../docs/configuration.md"

// What the sections are, in one sentence each. A section without one fails the
// test: whoever adds it explains it.
var sections = map[string]string{
	"":                     "These stand above the first `[section]`.",
	"[log]":                "What the gateway tells about itself, on standard error.",
	"[broker]":             "The MQTT broker for clients on this machine and in the local network.",
	"[[broker.listeners]]": "Where clients come in. Without any, `tcp://127.0.0.1:1883`; with `listeners = []`, nowhere.",
	"[buffer]":             "The file that messages are kept in until they are delivered.",
	"[[cloud]]":            "A server far away, with what goes up to it and what comes down. There may be several.",
	"[[cloud.up]]":         "A route to the cloud. Shorter: `up = [{ from = \"...\", to = \"...\" }]`.",
	"[[cloud.down]]":       "A route from the cloud.",
	"[[devices]]":          "A sensor or an actuator. `gateway devices` lists the kinds, and `gateway devices KIND` prints an example of one. The keys that only the kind has stand in `[devices.options]`, below the device they belong to.",
	"[home_assistant]":     "Home Assistant finds the devices by itself (MQTT discovery).",
	"[devices.channels.*]": "What happens to the values of one channel, below the device it belongs to; `*` is the channel's name, as in `[devices.channels.temperature]`.",
	"[status]":             "The status page, `/metrics` for Prometheus and `/healthz`.",
}

const example = `id = "greenhouse"

[[devices]]
name = "climate"
kind = "serial-line"
[devices.options]
path   = "/dev/ttyUSB0"
baud   = 115200
format = "json"

[[devices]]
name = "pump"
kind = "gpio-out"
[devices.options]
pin = "GPIO27"

[[cloud]]
name    = "acme"
servers = ["mqtts://broker.example:8883"]
up      = [{ from = "greenhouse/+/state", to = "acme/greenhouse/+/state" }]
down    = [{ from = "acme/greenhouse/pump/set", to = "greenhouse/pump/set" }]
`

const preface = `# Configuration

The gateway reads one TOML file: ` + "`gateway run -config FILE`" + `. Without one it runs a
broker on 127.0.0.1:1883, publishes the sensors of the machine itself and shows a
page on 127.0.0.1:8080. ` + "`gateway check -config FILE`" + ` says what is wrong with a file.

The file is read strictly. All mistakes come in one run, each with its place:

    gateway.toml:12:1: unknown key "max_conections" in [broker] (did you mean "max_connections"?)
    gateway.toml:30:9: devices.every wants a duration such as "10s", "1m30s" or "168h", not the integer 10

- A **duration** is a string: "50ms", "10s", "1m30s", "168h".
- A **size** is a string with B, KiB, MiB, GiB or TiB, such as "256KiB", or a plain
  number of bytes.
- A **path** is relative to the working directory of the process, not to the file.
- A key that is left out has the default of the table below; one without a default
  is unset.

A gateway with a sensor at a serial port, and a cloud that gets its readings and may
switch a pump:

` + "```toml\n" + example + "```" + `

This page is made from the source: ` + "`go test ./config -run TestTheReferenceIsTrue -update`" + `.
`

// TestTheReferenceIsTrue holds docs/configuration.md against what the loader
// knows and what the comments of the fields say. It shows every change of what a
// file may say; run it with -update after one that is meant.
func TestTheReferenceIsTrue(t *testing.T) {
	if cfg, err := config.Decode("example", []byte(example), func(string) string { return "" }, "host"); err != nil {
		t.Error(err)
	} else if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	var b strings.Builder
	b.WriteString(preface)
	section, docs := "none yet", fieldDocs{}
	for _, k := range config.Keys() {
		home, name := split(k.Path)
		if home != section {
			section = home
			title := "`" + home + "`"
			if home == "" {
				title = "The gateway itself"
			}
			if sections[home] == "" {
				t.Errorf("say in reference_test.go what the section %s is", home)
			}
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| key | type | default | meaning |\n|---|---|---|---|\n", title, sections[home])
		}
		value := "`" + k.Default + "`"
		meaning := docs.of(t, k)
		if meaning == "" {
			t.Errorf("%s.%s has no comment that says what it means", k.Struct, k.Field)
		}
		if k.Default == "" || k.Default == `""` || strings.Contains(meaning, "efault: ") { // the comment knows better
			value = ""
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, k.Type, value, meaning)
	}
	got := b.String()
	if bits.UintSize == 32 { // has half of the memory
		got = strings.Replace(got, "`\"8MiB\"`", "`\"16MiB\"`", 1)
	}
	if *update {
		if err := os.WriteFile(reference, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("docs/configuration.md is out of date: go test ./config -run TestTheReferenceIsTrue -update\n%s", firstDifference(got, string(want)))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\ngot  %s\nwant %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// split divides broker.listeners[].tls.cert into the header that a file has and
// the key below it: [[broker.listeners]] and tls.cert.
func split(path string) (header, name string) {
	if at := strings.LastIndex(path, "[]."); at >= 0 {
		return "[[" + strings.ReplaceAll(path[:at], "[]", "") + "]]", path[at+3:]
	}
	section, name, found := strings.Cut(path, ".")
	if !found {
		return "", path
	}
	return "[" + section + "]", name
}

// fieldDocs finds the comments of fields in the source: per type, per field.
type fieldDocs map[reflect.Type]map[string]string

func (docs fieldDocs) of(t *testing.T, k strict.Key) string {
	if docs[k.Struct] == nil {
		docs[k.Struct] = parseDocs(t, k.Struct)
	}
	return docs[k.Struct][k.Field]
}

func parseDocs(t *testing.T, owner reflect.Type) map[string]string {
	found := map[string]string{}
	// Field names in comments become the keys that a reader of the page knows.
	var keys []string
	for i := range owner.NumField() {
		f := owner.Field(i)
		if key, _, _ := strings.Cut(f.Tag.Get("toml"), ","); key != "" && key != "-" {
			keys = append(keys, f.Name, "`"+key+"`")
		}
	}
	files, err := filepath.Glob(filepath.Join("..", strings.TrimPrefix(owner.PkgPath(), "edgegateway"), "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != owner.Name() {
				return true
			}
			structure, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			last, lastLine := "", 0
			for _, f := range structure.Fields.List {
				doc, _, _ := strings.Cut(f.Doc.Text(), "\n\n") // further paragraphs are for who reads the source
				text := strings.Join(strings.Fields(doc+" "+f.Comment.Text()), " ")
				line := fset.Position(f.Pos()).Line
				switch { // a comment above a field is for all up to the next empty line
				case f.Doc != nil && len(f.Names) > 0:
					last = f.Names[0].Name
				case text == "" && line == lastLine+1 && last != "":
					text = "See " + last + "."
				default:
					last = ""
				}
				lastLine = line
				for _, name := range f.Names {
					found[name.Name] = prose(subject.ReplaceAllString(text, "$1"), keys)
				}
			}
			return false
		})
	}
	return found
}

// subject is the name of the field at the beginning of its comment, which stands in
// the first column already; "is" and "are" say nothing more there.
var subject = regexp.MustCompile(`^[A-Z]\w* (?:(?:is|are) |([a-z]+s ))`)

// link is how a comment points to a name of its package.
var link = regexp.MustCompile(`\[([A-Z]\w*)\]`)

// prose makes a comment a cell of the table.
func prose(text string, keys []string) string {
	text = link.ReplaceAllString(text, "$1")
	text = strings.NewReplacer("|", "\\|", "<", "&lt;").Replace(text)
	words := strings.Split(text, " ")
	for i, w := range words {
		bare := strings.TrimRight(w, ".,;:")
		for k := 0; k < len(keys); k += 2 {
			if bare == keys[k] {
				words[i] = keys[k+1] + w[len(bare):]
			}
		}
	}
	text = strings.Join(words, " ")
	if first, _, _ := strings.Cut(text, " "); regexp.MustCompile(`^[a-z]+$`).MatchString(first) { // a word, not a value
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	return text
}
