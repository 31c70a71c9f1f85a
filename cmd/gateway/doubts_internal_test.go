package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// warnings are the lines of check that say that somebody should look, without the file's name.
func warnings(t *testing.T, text string) (warned []string) {
	t.Helper()
	var out strings.Builder
	head := "data_dir = \"" + t.TempDir() + "\"\nid = \"box\"\n"
	if !strings.Contains(text, "[[broker.listeners]]") {
		text += "[[broker.listeners]]\naddress = \"tcp://127.0.0.1:0\"\n"
	}
	err := check(t.Context(), &process{stdout: &out, getenv: func(string) string { return "" }}, configOf(t, head+text+"[status]\naddress = \"\"\n"), true)
	if err != nil {
		t.Fatalf("%v:\n%s", err, &out)
	}
	for line := range strings.Lines(out.String()) {
		if rest, ok := strings.CutPrefix(line, "warning"); ok {
			warned = append(warned, strings.TrimSpace(rest))
		}
	}
	return warned
}

func TestCheckDoubtsRoutesOfAnotherGateway(t *testing.T) {
	const devices = "[[devices]]\nname = \"pump\"\nkind = \"sim\"\n[[devices]]\nname = \"far\"\ntopic = \"barn/far\"\nkind = \"sim\"\n"
	for _, c := range []struct{ name, routes, want string }{
		{"its own", `up = [{ from = "box/+/state", to = "c/box/+/state" }]`, ""},
		{"one device", `up = [{ from = "box/pump/state", to = "c/s" }]`, ""},
		{"the topic that a device has", `up = [{ from = "barn/+/state", to = "c/+/state" }]`, ""},
		{"the state of a link", `up = [{ from = "box/cloud/acme/state", to = "c/link" }, { from = "box/cloud/+/state", to = "c/links/+" }]`, ""},
		{"a link of mosquitto's kind", `up = [{ from = "$SYS/broker/connection/+/state", to = "c/+" }]`, ""},
		{"topics of clients", `up = [{ from = "zigbee2mqtt/#", to = "z/#" }]`, ""},
		{"a slip", `up = [{ from = "greenhouse/+/state", to = "c/+/state" }]`, `no device here has its state at "greenhouse/+/state", maybe a client does: the topics of this gateway begin with "box/"`},
		{"a device that is none", `up = [{ from = "box/pmup/state", to = "c/s" }]`, `no device here has its state at "box/pmup/state"`},
		{"commands", `down = [{ from = "c/+/set", to = "box/+/set" }]`, ""},
		{"commands of channels", `down = [{ from = "c/+/+/set", to = "box/+/+/set" }]`, ""},
		{"the command of a channel", `down = [{ from = "c/set", to = "barn/far/target/set" }]`, ""},
		{"commands of others", `down = [{ from = "c/+/set", to = "greenhouse/+/set" }]`, `no device here takes commands at "greenhouse/+/set"`},
		{"none", ``, "it has no route, so nothing goes up and nothing comes down"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := warnings(t, devices+"[[cloud]]\nname = \"acme\"\nservers = [\"mqtt://127.0.0.1\"]\n"+c.routes+"\n")
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestCheckDoubtsChannelsThatADeviceDoesNotHave(t *testing.T) {
	const line = "kind = \"serial-line\"\n[devices.options]\npath = \"/dev/tty\"\nbaud = 9600\nformat = \"kv\"\n"
	const modbus = "kind = \"modbus-tcp\"\n[devices.options]\naddress = \"127.0.0.1:1\"\n"
	for _, c := range []struct{ name, device, channel, want string }{
		{"it has it", modbus + `points = [{ name = "power", address = 1 }]`, "power", ""},
		{"a slip", modbus + `points = [{ name = "power", address = 1 }]`, "powr", `the device has no channel "powr", so this does nothing (did you mean "power"?)`},
		{"another word", modbus + `points = [{ name = "power", address = 1 }, { name = "limit", address = 2 }]`, "x", `(it has power, limit)`},
		{"a field as it comes", line + `fields = [{ from = "t" }]`, "t", ""},
		{"a field with a name of its own", line + `fields = [{ from = "t", name = "temperature" }]`, "t", `no channel "t"`},
		{"whatever comes", line, "t", ""},
		{"those of the kind", `kind = "sim"`, "x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := slices.DeleteFunc(warnings(t, "[[devices]]\nname = \"a\"\n"+c.device+"\n[devices.channels."+c.channel+"]\nround = 1\n"), func(w string) bool { return !strings.Contains(w, "no channel") })
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestCheckTellsOfAListenerThatLetsNobodyIn(t *testing.T) {
	for listener, doubted := range map[string]bool{
		`address = "tcp://0.0.0.0:0"`:                              true,
		"address = \"tcp://127.0.0.1:0\"\nallow_anonymous = false": true,
		"address = \"tcp://0.0.0.0:0\"\nallow_anonymous = true":    false,
		`address = "tcp://127.0.0.1:0"`:                            false,
	} {
		got := warnings(t, "[[broker.listeners]]\n"+listener+"\n")
		if told := slices.ContainsFunc(got, func(w string) bool { return strings.Contains(w, "lets nobody in") }); told != doubted {
			t.Errorf("%s: %q", listener, got)
		}
	}
}

func TestCheckSaysWhereARelativePathWasLookedFor(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("there.pw", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	text := "data_dir = \"d\"\n[status]\naddress = \"\"\n[[broker.listeners]]\naddress = \"tcp://127.0.0.1:0\"\npassword_file = \"missing.pw\"\n[[broker.listeners]]\naddress = \"tcp://127.0.0.1:0\"\npassword_file = \"there.pw\"\n"
	if err := check(t.Context(), &process{stdout: &out, getenv: func(string) string { return "" }}, configOf(t, text), true); err == nil {
		t.Error("no problem")
	}
	for _, want := range []string{"looked for as " + here + "/missing.pw", "there.pw, seen from here"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
}
