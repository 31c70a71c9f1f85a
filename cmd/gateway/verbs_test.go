package main_test

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestHelpForEveryVerb(t *testing.T) {
	t.Parallel()
	code, list, _ := verb(t, "help")
	if code != 0 {
		t.Fatalf("help: exit code %d", code)
	}
	for _, v := range []string{"run", "demo", "check", "status", "devices", "read", "set", "version"} {
		if !strings.Contains(list, "\n  "+v+" ") {
			t.Errorf("%s is not in the list:\n%s", v, list)
		}
		for _, args := range [][]string{{v, "--help"}, {v, "-h"}, {"help", v}} {
			code, out, errOut := verb(t, args...)
			if code != 0 || errOut != "" || !strings.HasPrefix(out, "Usage: gateway "+v) || !strings.Contains(out, "\nExample:\n  gateway "+v) {
				t.Errorf("%v: exit code %d, %s\n%s", args, code, errOut, out)
			}
		}
	}
	if code, out, errOut := verb(t, "read", "boiler", "--help"); code != 0 || errOut != "" || !strings.HasPrefix(out, "Usage: gateway read") {
		t.Errorf("behind a word: exit code %d, %s\n%s", code, errOut, out)
	}
	if strings.Contains(list, "check-store") {
		t.Error("a hidden verb is in the list")
	}
}

func TestWrongCommandLineSaysWhatToType(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "Usage: gateway VERB"},
		{[]string{"statsu"}, `Did you mean "gateway status"?`},
		{[]string{"nonsense"}, `Type "gateway help" for the list`},
		{[]string{"run", "-cofnig", "x"}, `Type "gateway run --help"`},
		{[]string{"run", "file.toml"}, `"file.toml" is one word too many; a configuration is named by -config file.toml`},
		{[]string{"demo", "-outage", "10s", "-every", "5s"}, "-every must be longer than -outage"},
		{[]string{"demo", "-outage", "soon"}, `Type "gateway demo --help"`},
		{[]string{"demo", "-outage", "soon"}, `invalid value "soon" for flag -outage: it wants a duration such as 1s or 5m`},
		{[]string{"check", "extra", "-config", "g.toml"}, `"extra" is one word too many`},
		{[]string{"check-store"}, "name one store file"},
		{[]string{"salvage-store", "one"}, "name a damaged store file and the one to write"},
	} {
		code, out, errOut := verb(t, c.args...)
		if code != 2 || out != "" || !strings.Contains(errOut, c.want) {
			t.Errorf("%v: exit code %d, want 2 and %q:\n%s%s", c.args, code, c.want, out, errOut)
		}
	}
}

func TestVersionNamesWhatItWasMadeFrom(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"version", "--version"} {
		code, out, _ := verb(t, arg)
		if want := "gateway 1.2.3-test (commit abcdef, " + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")\n"; code != 0 || out != want {
			t.Errorf("%s: exit code %d, %q, want %q", arg, code, out, want)
		}
	}
}

func TestStatusWithoutAGateway(t *testing.T) {
	t.Parallel()
	config := writeConfig(t, t.TempDir(), "")
	code, out, errOut := verb(t, "status", "-config", config)
	if code != 3 || out != "" || !strings.Contains(errOut, "no gateway is running") || !strings.Contains(errOut, "control.sock") || !strings.Contains(errOut, `"gateway run"`) {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
}

func TestEveryMistakeOfAConfigurationIsToldWithItsPlace(t *testing.T) {
	t.Parallel()
	config := writeConfig(t, t.TempDir(), "[broker]\nmax_conections = 5\n[[devices]]\nname = \"a\"\nkind = \"hots\"\n")
	code, _, errOut := verb(t, "run", "-config", config)
	if code != 1 || !strings.Contains(errOut, config+":8:1: ") || !strings.Contains(errOut, "max_connections") {
		t.Errorf("run: exit code %d: %s", code, errOut)
	}
	code, out, _ := verb(t, "check", "-config", config)
	if code != 1 || !strings.Contains(out, config+":8:1: ") || !strings.Contains(out, config+":11:8: ") || !strings.Contains(out, "2 problems found") {
		t.Errorf("check: exit code %d: %s", code, out)
	}
	if code, _, errOut := verb(t, "run", "-config", config+".missing"); code != 1 || !strings.Contains(errOut, "no such file") {
		t.Errorf("no file: exit code %d: %s", code, errOut)
	}
}

func TestCheckOfASoundConfiguration(t *testing.T) {
	t.Parallel()
	config := writeConfig(t, t.TempDir(), "")
	if code, out, errOut := verb(t, "check", "-config", config); code != 0 || strings.Contains("\n"+out, "\nproblem") || !strings.Contains(out, "no problem found") {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
}

// What a device needs may come later: the gateway starts without it.
func TestCheckWarnsOfWhatADeviceMisses(t *testing.T) {
	t.Parallel()
	config := writeConfig(t, t.TempDir(), `
[[devices]]
name = "weather"
kind = "serial-line"
[devices.options]
path = "/dev/serial/by-id/no-such-adapter"
[[devices]]
name = "boiler"
kind = "bme280"
[devices.options]
bus = 987
address = 0x76
[[devices]]
name = "pump"
kind = "gpio-out"
[devices.options]
pin = "no such line"
[[devices]]
name = "demo"
kind = "sim"
[devices.options]
channels = [{ name = "a", wave = "sine" }]
`)
	code, out, _ := verb(t, "check", "-config", config)
	for _, want := range []string{
		"\nwarning  device weather         /dev/serial/by-id/no-such-adapter is not there; check the cable",
		"\nwarning  device boiler          /dev/i2c-987 is not there; switch the bus on in the device tree",
		"\nwarning  device pump            ",
		"\nok       device demo            its options fit the kind sim\n",
		"\nno problem found, 3 warnings\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestCheckFindsTheReasonBeforeTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "password")
	if err := os.WriteFile(secret, []byte("x"), 0o604); err != nil {
		t.Fatal(err)
	}
	notDir := filepath.Join(dir, "data")
	if err := os.WriteFile(notDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	config := writeConfig(t, dir, `
[[cloud]]
name = "acme"
servers = ["mqtt://127.0.0.1:1"]
username = "u"
password_file = "`+secret+`"
up = [{ from = "test/+/state", to = "acme/+/state" }]
`)
	code, out, _ := verb(t, "check", "-config", config)
	for _, want := range []string{
		"every user of this machine can read it: chmod o-rwx " + secret,
		notDir + " is not a directory",
		"mqtt://127.0.0.1:1: ", "is it running at 127.0.0.1:1?",
		"3 problems found",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	if _, out, _ := verb(t, "check", "-offline", "-config", config); strings.Contains(out, "is it running") || !strings.Contains(out, "2 problems found") {
		t.Errorf("-offline:\n%s", out)
	}
}

func TestCheckTriesTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(nil)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it is meant to be refused
	server.StartTLS()
	defer server.Close()
	address := strings.Replace(server.URL, "https", "mqtts", 1)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tls, want string
		code      int
	}{
		{"", "tls.ca names its file", 1},
		{"tls.ca = \"" + ca + "\"", address + " answers", 0},
		{"tls.ca = \"" + ca + "\"\ntls.server_name = \"other.example.org\"", "tls.server_name names another", 1},
	} {
		config := writeConfig(t, dir, "[[cloud]]\nname = \"acme\"\nservers = [\""+address+"\"]\n"+c.tls+"\n")
		if code, out, _ := verb(t, "check", "-config", config); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s", c.tls, code, c.code, c.want, out)
		}
	}
}

// What a server says to CONNECT is told with what it means. The name is another one
// than the gateway's: a running one keeps its connection.
func TestCheckTellsWhatTheServerSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		connack string
		code    int
		want    []string
	}{
		{"let in, with limits", "\x20\x0a\x00\x00\x07\x11\x00\x00\x0e\x10\x24\x01", 0, []string{"and lets us in", "keeps the session for 1h0m0s", "QoS 1 at most"}},
		{"bad password", "\x20\x03\x00\x86\x00", 1, []string{"refuses: bad user name or password (0x86): check username and password_file"}},
		{"what Mosquitto says to a wrong password", "\x20\x03\x00\x87\x00", 0, []string{"warning  cloud acme", "not authorized: check username and password_file"}},
		{"nothing", "", 0, []string{"warning  cloud acme", "without an answer to CONNECT: is it a port for MQTT, and for mqtt://?"}},
		{"another name", "\x20\x03\x00\x85\x00", 0, []string{"warning  cloud acme", "maybe it lets in the gateway's own client_id alone", "tried as box-7-check"}},
		{"an old server", "\x20\x02\x00\x01", 1, []string{"answers CONNECT in MQTT 3.1.1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			asked := make(chan string, 10)
			go func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					ask := make([]byte, 1000)
					n, _ := conn.Read(ask)
					asked <- string(ask[:n])
					io.WriteString(conn, c.connack)
					if c.connack != "" {
						conn.Read(ask) // DISCONNECT
					}
					conn.Close()
				}
			}()
			address := "mqtt://" + ln.Addr().String()
			config := writeConfig(t, t.TempDir(), "[[cloud]]\nname = \"acme\"\nclient_id = \"box-7\"\nservers = [\""+address+"\", \""+address+"\"]\n")
			code, out, _ := verb(t, "check", "-config", config)
			for _, want := range append(c.want, "exactly once holds at one server") {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
			if ask := <-asked; code != c.code || !strings.Contains(ask, "box-7-check") {
				t.Errorf("exit code %d, want %d; CONNECT %q", code, c.code, ask)
			}
		})
	}
}

func TestDevicesListsKindsAndShowsTheirExamples(t *testing.T) {
	t.Parallel()
	code, list, _ := verb(t, "devices")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, kind := range []string{"host", "serial-line", "gpio-in", "gpio-out"} {
		if !strings.Contains(list, kind+" ") {
			t.Errorf("%s is not in the list:\n%s", kind, list)
		}
		if code, out, _ := verb(t, "devices", kind); code != 0 || !strings.Contains(out, "[[devices]]") || !strings.Contains(out, `"`+kind+`"`) {
			t.Errorf("devices %s: exit code %d\n%s", kind, code, out)
		}
	}
	if code, _, errOut := verb(t, "devices", "BME208"); code != 1 || !strings.HasSuffix(strings.TrimSpace(errOut), `there is no kind "BME208" (did you mean "bme280"?)`) {
		t.Errorf("a slip: exit code %d: %s", code, errOut)
	}
	if code, _, errOut := verb(t, "devices", "toaster"); code != 1 || !strings.Contains(errOut, "the kinds are ") {
		t.Errorf("an unknown kind: exit code %d: %s", code, errOut)
	}
}

func TestCheckStoreTellsByItsExitCode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gateway.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no store", 1024)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := verb(t, "check-store", path); code == 0 || errOut == "" {
		t.Errorf("a damaged file: exit code %d: %s", code, errOut)
	}
}

func TestCheckTellsOfLoopsThatTakeTwoGateways(t *testing.T) {
	t.Parallel()
	config := writeConfig(t, t.TempDir(), `
[[cloud]]
name = "a"
servers = ["mqtt://a.example"]
transit = true
up = [{ from = "shared/#", to = "s/#" }]
down = [{ from = "s/#", to = "shared/#" }]
[[cloud]]
name = "b"
servers = ["mqtt://b.example"]
transit = true
up = [{ from = "shared/#", to = "s/#" }]
down = [{ from = "s/#", to = "shared/#" }]
`)
	code, out, _ := verb(t, "check", "-offline", "-config", config)
	if code != 0 || !strings.Contains(out, "a message would go round for ever between two gateways with this configuration: up[0] of cloud ") {
		t.Errorf("exit code %d: %s", code, out)
	}
}
