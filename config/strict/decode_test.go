package strict_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"edgegateway/config/strict"
)

type level int

func (l *level) UnmarshalText(text []byte) error {
	switch string(text) {
	case "low":
		*l = 1
	case "high":
		*l = 2
	default:
		return fmt.Errorf("want low or high, not %q", text)
	}
	return nil
}

type route struct {
	From string `toml:"from"`
	QoS  byte   `toml:"qos"`
}

type security struct {
	Cert string `toml:"cert"`
	CA   string `toml:"client_ca"`
}

type listener struct {
	Address string   `toml:"address"`
	Open    *bool    `toml:"open"`
	TLS     security `toml:"tls"`
	Routes  []route  `toml:"up"`
}

type common struct {
	Name string `toml:"name"`
}

type device struct {
	common
	Every   time.Duration                    `toml:"every"`
	Options func(dst any) error              `toml:"options"`
	Fault   func(key, sentence string) error `toml:",fault"`
}

type file struct {
	Text   string             `toml:"text"`
	Flag   bool               `toml:"flag"`
	Small  int8               `toml:"small"`
	Port   uint16             `toml:"port"`
	Big    int64              `toml:"big"`
	Ratio  float64            `toml:"ratio"`
	Wait   time.Duration      `toml:"wait"`
	Expiry time.Duration      `toml:"expiry,never"`
	Room   int64              `toml:"room,bytes"`
	Level  level              `toml:"level"`
	Words  []string           `toml:"words"`
	Waits  []time.Duration    `toml:"waits"`
	Scales map[string]float64 `toml:"scales"`
	Any    any                `toml:"any"`
	Mode   *level             `toml:"mode"`
	Group  struct {
		MaxConnections int        `toml:"max_connections"`
		Listeners      []listener `toml:"listeners"`
	} `toml:"group"`
	Devices []device `toml:"devices"`
	Ignored string
	Secret  string `toml:"-"`
}

func defaults() file {
	f := file{Text: "default", Port: 1883, Words: []string{"a"}, Scales: map[string]float64{"kept": 1}}
	f.Group.MaxConnections = 1000
	return f
}

var elements = []any{device{Every: 10 * time.Second}, route{QoS: 1}}

func decode(text string) (file, error) {
	f := defaults()
	err := strict.Parse("gateway.toml", []byte(text)).Decode(&f, elements...)
	return f, err
}

func TestEveryTypeDecodes(t *testing.T) {
	got, err := decode(`
text = "x"
flag = true
small = -0
port = 0xFFFF
big = 9_223_372_036_854_775_807
ratio = 2
wait = "1m30s"
expiry = "never"
room = "256KiB"
level = "high"
words = ["b", 'c']
waits = ["10s", "20s"]
scales = { x = 1.5, "y z" = 2 }
any = [1, 2.5, "s", true, { k = [] }]
mode = "low"

[group]
max_connections = 7
[[group.listeners]]
address = "tcp://127.0.0.1:1"
open = false
tls.cert = "c"
tls.client_ca = "ca"
[[group.listeners.up]]
from = "a/#"
[[group.listeners]]
up = [{ from = "b", qos = 0 }, { from = "c" }]

[[devices]]
name = "boiler"
[[devices]]
name = "pump"
every = "0.5s"
`)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got.Devices {
		got.Devices[i].Options, got.Devices[i].Fault = nil, nil // functions do not compare
	}
	no, low := false, level(1)
	want := defaults()
	want.Text, want.Flag, want.Small, want.Port, want.Big, want.Ratio = "x", true, 0, 65535, math.MaxInt64, 2
	want.Wait, want.Expiry, want.Room, want.Level = 90*time.Second, math.MaxInt64, 256<<10, 2
	want.Words, want.Waits = []string{"b", "c"}, []time.Duration{10 * time.Second, 20 * time.Second}
	want.Scales = map[string]float64{"kept": 1, "x": 1.5, "y z": 2}
	want.Any = []any{int64(1), 2.5, "s", true, map[string]any{"k": []any{}}}
	want.Mode = &low
	want.Group.MaxConnections = 7
	want.Group.Listeners = []listener{
		{Address: "tcp://127.0.0.1:1", Open: &no, TLS: security{"c", "ca"}, Routes: []route{{"a/#", 1}}},
		{Routes: []route{{"b", 0}, {"c", 1}}},
	}
	want.Devices = []device{
		{common: common{"boiler"}, Every: 10 * time.Second},
		{common: common{"pump"}, Every: 500 * time.Millisecond},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestWhatTheFileDoesNotSayKeepsItsDefault(t *testing.T) {
	got, err := decode("")
	if err != nil || !reflect.DeepEqual(got, defaults()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDefaultsAreNotChangedThroughWhatWasDecoded(t *testing.T) {
	shared := defaults()
	f := shared
	text := "words = ['x']\nscales.kept = 2"
	if err := strict.Parse("f", []byte(text)).Decode(&f); err != nil {
		t.Fatal(err)
	}
	if shared.Words[0] != "a" || shared.Scales["kept"] != 1 {
		t.Errorf("the default became %v %v", shared.Words, shared.Scales)
	}
}

func TestMistakesPointAtThemselves(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "txet = 1", `1:1: unknown key "txet" (did you mean "text"?)`},
		{"unknown key that resembles none", "zzz = 1", `1:1: unknown key "zzz"`},
		{"wrong case and dashes", "[group]\nMax-Connections = 1", `2:1: unknown key "Max-Connections" in [group] (did you mean "max_connections"?)`},
		{"top-level key below a header", "[group]\nport = 1", `2:1: unknown key "port" in [group] (it belongs above the first [section])`},
		{"key of another section", "[group]\n  every = '1s'", `2:3: unknown key "every" in [group] (it belongs in [[devices]])`},
		{"key of a section at the top", "client_ca = 'x'", `1:1: unknown key "client_ca" (it belongs in [group.listeners.tls])`},
		{"unknown section", "[grup]\nx = 1", `1:2: unknown key "grup" (did you mean "group"?)`},
		{"unknown key in a list", "[[group.listeners]]\n[[group.listeners]]\nadress = ''", `3:1: unknown key "adress" in [[group.listeners]] (did you mean "address"?)`},
		{"unknown key in an inline table", "group = { listeners = [ { up = [{ form = 'a' }] } ] }", `1:35: unknown key "form" in [[group.listeners.up]] (did you mean "from"?)`},
		{"unknown dotted key", "group.lim = 1", `1:7: unknown key "lim" in [group] (known here: max_connections, listeners)`},
		{"the beginning of a key", "group.max = 1", `1:7: unknown key "max" in [group] (did you mean "max_connections"?)`},
		{"key of a kind beside its options", "[[devices]]\nbus = 1", `2:1: unknown key "bus" in [[devices]] (keys that only this kind has belong in [devices.options])`},
		{"columns count characters", "'äöü' = 1\nwords = ['äöü', 1]", `1:1: unknown key "äöü"` + "\n" + `2:17: words wants a string in quotes, not the integer 1`},

		{"integer for a string", "text = 5", `1:8: text wants a string in quotes, not the integer 5`},
		{"string for a bool", `flag = "yes"`, `1:8: flag wants true or false, not the string "yes"`},
		{"float for an integer", "big = 1.0", `1:7: big wants a whole number such as 10, not the number 1.0`},
		{"too large for its width", "small = 128", `1:9: small must be between -128 and 127, not 128`},
		{"too small for its width", "small = -129", `1:9: small must be between -128 and 127, not -129`},
		{"negative unsigned", "port = -1", `1:8: port must be between 0 and 65535, not -1`},
		{"larger than any integer", "big = 9223372036854775808", `1:7: big must be between -9223372036854775808 and 9223372036854775807, not 9223372036854775808`},
		{"not a number", "ratio = nan", `1:9: ratio must be a finite number`},
		{"infinite", "ratio = -inf", `1:9: ratio must be a finite number`},
		{"too large for a float", "ratio = 1e999", `1:9: ratio must be a finite number`},
		{"integer for a duration", "wait = 10", `1:8: wait wants a duration such as "10s", "1m30s" or "168h", not the integer 10`},
		{"duration without unit", `wait = "10"`, `1:8: wait wants a duration such as "10s", "1m30s" or "168h", not the string "10"`},
		{"never where it may not be", `wait = "never"`, `1:8: wait wants a duration such as "10s", "1m30s" or "168h", not the string "never"`},
		{"no duration where never may be", `expiry = true`, `1:10: expiry wants a duration such as "10s", "1m30s" or "168h", or "never", not true`},
		{"negative duration", `wait = "-1s"`, `1:8: wait must not be negative, not "-1s"`},
		{"decimal size", `room = "1MB"`, `1:8: room wants a size such as "256KiB", "1MiB" or a number of bytes, not the string "1MB"`},
		{"size that overflows", `room = "9999999999GiB"`, `1:8: room wants a size such as "256KiB", "1MiB" or a number of bytes, not the string "9999999999GiB"`},
		{"negative size", "room = -1", `1:8: room must be between 0 and 9223372036854775807, not -1`},
		{"date", "text = 2026-01-02", `1:8: text wants a string in quotes, not the date or time 2026-01-02`},
		{"UnmarshalText refuses", `level = "middle"`, `1:9: level: want low or high, not "middle"`},
		{"string for a list", `words = "a"`, `1:9: words wants a list such as ["a", "b"], not the string "a"`},
		{"list for a string", `text = ["a"]`, `1:8: text wants a string in quotes, not a list`},
		{"one table for a list", "[devices]\nname = ''", `1:2: devices is a list of tables: write [[devices]]`},
		{"list for one table", "[[group]]", `1:3: group is one table: write [group]`},
		{"scalar for a table", "group = 1", `1:9: group wants a table such as [group], not the integer 1`},
		{"scalar for a list of tables", "devices = 1", `1:11: devices wants a list of tables such as [[devices]], not the integer 1`},
		{"scalar in a list of tables", "devices = [1]", `1:12: devices wants a table such as [[devices]], not the integer 1`},
		{"scalar for kept options", "[[devices]]\noptions = 1", `2:11: devices.options wants a table such as [devices.options], not the integer 1`},

		{"key twice", "port = 1\nport = 2", `2:1: port is set twice, first at line 1`},
		{"table twice", "[group]\n[group]", `2:2: [group] is set twice, first at line 1`},
		{"table after dots", "group.max_connections = 1\n[group]", `2:2: [group] is set twice, first at line 1`},
		{"dots into a table", "[group]\n[scales]\nx = 1\n[a.b]\nc = 1\n[a]\nb.d = 1", `6:2: unknown key "a"` + "\n" + `7:1: b is already a table at line 4 and can not be extended here`},
		{"header into an inline table", "scales = { x = 1 }\n[scales.y]", `2:2: scales is already a table at line 1 and can not be extended here`},
		{"list after table", "[devices]\n[[devices]]", `1:2: devices is a list of tables: write [[devices]]` + "\n" + `2:3: [[devices]] is already a table at line 1`},
		{"table after list", "[[devices]]\n[devices]", `2:2: [devices] is a list of tables since line 1: write [[devices]]`},
		{"table into a closed list", "devices = []\n[[devices]]", `2:3: [[devices]] is already a list at line 1`},

		{"no value", "port =", `1:6: expected value, not end of input (the rest of the file was not read)`},
		{"typographic quotes", "name = “a”", `1:8: “ is no quotation mark here: a text stands between "..." (the rest of the file was not read)`},
		{"unquoted word", "name = a", `1:8: unexpected character U+0061 'a' at start of value: a text stands between "..." (the rest of the file was not read)`},
		{"backslash", `name = "\d+"`, `1:9: invalid escape character U+0064 'd': write the text between '...', where a backslash is one (the rest of the file was not read)`},
		{"unquoted string", "wait = 10s\nzzz = 1", `1:10: strings must be quoted (the rest of the file was not read)`},
		{"what stands before a mistake of syntax is read", "zzz = 1\n[group", `1:1: unknown key "zzz"` + "\n" + `2:6: expected ']' to close table name (the rest of the file was not read)`},
		{"key too deep", strings.Repeat("a.", 64) + "a = 1", `1:1: a key of 65 parts is too deep, at most 64`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := decode(c.text)
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.ReplaceAll(err.Error(), "gateway.toml:", "")
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestAllMistakesComeInOneRunInTheOrderOfTheFile(t *testing.T) {
	_, err := decode("port = true\nport = 2\n[group]\nmax_conections = 1\n[[devices]]\nevery = 5\nnmae = ''\n")
	want := `gateway.toml:1:8: port wants a whole number such as 10, not true
gateway.toml:2:1: port is set twice, first at line 1
gateway.toml:4:1: unknown key "max_conections" in [group] (did you mean "max_connections"?)
gateway.toml:6:9: devices.every wants a duration such as "10s", "1m30s" or "168h", not the integer 5
gateway.toml:7:1: unknown key "nmae" in [[devices]] (did you mean "name"?)`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestAByteOrderMarkIsSkipped(t *testing.T) {
	got, err := decode("\xef\xbb\xbftext = 'x'\r\nport = 5\r\n")
	if err != nil || got.Text != "x" || got.Port != 5 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAHostileFileDoesNotExhaustTheStack(t *testing.T) {
	deep := "any = " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	if _, err := decode(deep); err == nil || !strings.Contains(err.Error(), "nested too deeply") {
		t.Errorf("got %.200v", err)
	}
}
