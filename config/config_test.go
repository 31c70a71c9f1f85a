package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker"
	"edgegateway/buffer"
	"edgegateway/config"
	"edgegateway/config/strict"
	"edgegateway/status"
)

func none(string) string { return "" }

func decode(text string) (config.Config, error) {
	return config.Decode("gateway.toml", []byte(text), none, "greenhouse.example.org")
}

func TestEveryKeyOfAFullFileArrives(t *testing.T) {
	c, err := config.Load("testdata/full.toml", none)
	if err != nil {
		t.Fatal(err)
	}
	var address struct {
		Bus     string `toml:"bus"`
		Address byte   `toml:"address"`
	}
	if err := c.Devices[0].Options(&address); err != nil {
		t.Error(err)
	}
	for _, x := range []struct {
		name      string
		got, want any
	}{
		{"id", c.ID, "greenhouse"},
		{"data_dir", c.DataDir, "/var/lib/gateway"},
		{"prefix", c.Prefix, "farm/greenhouse"},
		{"log", c.Log, config.Log{Level: "debug", Format: "json"}},
		{"broker.max_packet_size", c.Broker.MaxPacketSize, int64(1 << 20)},
		{"broker.when_full", c.Broker.WhenFull, "drop-newest"},
		{"broker.listeners", c.Broker.Listeners[1].TLS, broker.TLSConfig{
			Cert: "/etc/gateway/cert.pem", Key: "/etc/gateway/key.pem", ClientCA: "/etc/gateway/ca.pem", Identity: "cn"}},
		{"broker.listeners.allow_anonymous", *c.Broker.Listeners[0].AllowAnonymous, true},
		{"broker.listeners.allow_anonymous, absent", c.Broker.Listeners[1].AllowAnonymous, (*bool)(nil)},
		{"broker.listeners, WebSocket", c.Broker.Listeners[2], broker.ListenerConfig{Address: "ws://127.0.0.1:9001", Path: "/mqtt",
			Origins: []string{"https://panel.example", "http://10.0.0.5:3000"}, MaxConnections: 50, ConnectTimeout: 5 * time.Second}},
		{"buffer.max_size", c.Buffer.MaxSize, int64(512 << 20)},
		{"cloud.servers", c.Cloud[0].Servers, []string{"mqtts://a.example:8883", "mqtts://b.example:8883"}},
		{"cloud.up", c.Cloud[0].Up, []cloud.Route{{From: "farm/greenhouse/+/state", To: "acme/greenhouse/+/state", QoS: 1}}},
		{"devices", fmt.Sprint(c.Devices[0].Name, c.Devices[0].Kind, c.Devices[0].Every, c.Devices[0].QoS), "boilerbme28010s 0"},
		{"devices, defaults", fmt.Sprint(c.Devices[1].Every, c.Devices[1].QoS, c.Devices[1].Topic), "10s 1actuators/pump"},
		{"devices.options", address.Bus + fmt.Sprint(address.Address), "1118"},
		{"status", c.Status.Address, "127.0.0.1:8081"},
	} {
		if !reflect.DeepEqual(x.got, x.want) {
			t.Errorf("%s: got %v, want %v", x.name, x.got, x.want)
		}
	}
}

func TestAnEmptyFileIsABrokerForThisMachineAlone(t *testing.T) {
	c, err := decode("")
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != "greenhouse" || c.Prefix != "greenhouse" || c.DataDir != "./gateway-data" || c.ConfigVersion != 1 {
		t.Errorf("got %+v", c)
	}
	if len(c.Broker.Listeners) != 1 || c.Broker.Listeners[0].Address != "tcp://127.0.0.1:1883" {
		t.Errorf("listeners: %+v", c.Broker.Listeners)
	}
	if len(c.Devices) != 0 || len(c.Cloud) != 0 {
		t.Errorf("with a file only its own devices: %+v", c.Devices)
	}
	if c.Log.Threshold() != slog.LevelInfo {
		t.Errorf("level %v", c.Log.Threshold())
	}
}

func TestAFileWithListenersHasOnlyThose(t *testing.T) {
	c, err := decode("[[broker.listeners]]\naddress = 'tcp://127.0.0.1:0'")
	if err != nil || len(c.Broker.Listeners) != 1 || c.Broker.Listeners[0].Address != "tcp://127.0.0.1:0" {
		t.Errorf("got %+v, %v", c.Broker.Listeners, err)
	}
	c, err = decode("broker.listeners = []")
	if err != nil || len(c.Broker.Listeners) != 0 {
		t.Errorf("an empty list is a choice: got %+v, %v", c.Broker.Listeners, err)
	}
}

func TestWithoutAFileTheMachineItselfIsTheDevice(t *testing.T) {
	c := config.Default(none, "pi")
	if len(c.Devices) != 1 || c.Devices[0].Name != "host" || c.Devices[0].Kind != "host" || c.Devices[0].Every != 10*time.Second || c.Devices[0].QoS != 1 {
		t.Errorf("devices: %+v", c.Devices)
	}
	if c.Status.Address != "127.0.0.1:8080" || c.Broker.Listeners[0].Address != "tcp://127.0.0.1:1883" || c.Prefix != "pi" {
		t.Errorf("got %+v", c)
	}
	for _, part := range []interface{ Validate() error }{c, c.Log, c.Broker, c.Buffer, c.Status, c.Devices[0]} {
		if err := part.Validate(); err != nil {
			t.Errorf("%T: %v", part, err)
		}
	}
	if got, want := c.Fault("data_dir", "is full").Error(), "data_dir: is full"; got != want {
		t.Errorf("a fault without a file: got %q, want %q", got, want)
	}
}

func TestIDComesFromTheHostName(t *testing.T) {
	for host, want := range map[string]string{
		"pi.local": "pi", "pi": "pi", "Küche 1": "K-che-1", "": "gateway", ".x": "gateway", strings.Repeat("a", 70): strings.Repeat("a", 64),
	} {
		if got := config.Default(none, host).ID; got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
}

func TestOnAMachineCalledHomeassistantTheGatewayIsNotTakenForIt(t *testing.T) {
	if c := config.Default(none, "homeassistant.local"); c.ID != "homeassistant" || c.Prefix != "homeassistant-gateway" {
		t.Errorf("id %q, prefix %q", c.ID, c.Prefix)
	}
}

func TestThePrefixIsTheIDUnlessTheFileSaysOtherwise(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "greenhouse",
		"id = 'barn'":                 "barn",
		"id = 'barn'\nprefix = 'a/b'": "a/b",
		"id = 'homeassistant'":        "homeassistant-gateway",
		"id = 'ha'\n[home_assistant]\nprefix = 'ha'": "ha-gateway",
	} {
		if c, err := decode(text); err != nil || c.Prefix != want {
			t.Errorf("%q: got %q, %v, want %q", text, c.Prefix, err, want)
		}
	}
}

func TestDataDirComesFromSystemd(t *testing.T) {
	getenv := func(key string) string {
		return map[string]string{"STATE_DIRECTORY": "/var/lib/gateway:/var/lib/other"}[key]
	}
	if got := config.Default(getenv, "pi").DataDir; got != "/var/lib/gateway" {
		t.Errorf("got %s", got)
	}
	c, err := config.Decode("f", []byte("data_dir = '/data'"), getenv, "pi")
	if err != nil || c.DataDir != "/data" {
		t.Errorf("the file has the last word: got %s, %v", c.DataDir, err)
	}
}

func TestTheValueOfAMistakePointsAtItself(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"newer version", "config_version = 2\nnew_key = 1", `1:18: config_version 2 is newer than this gateway, which knows 1: update the gateway`},
		{"no version", "config_version = 0", `1:18: config_version must be 1, not 0`},
		{"id", "id = 'green house'", `1:6: id must be 1 to 64 of the characters A-Z a-z 0-9 _ -, not "green house"`},
		{"prefix with a wildcard", "prefix = 'a/+'", `1:10: prefix must be a topic without + and #, not start with $ or /, not end with /, and have 1 to 256 bytes, not "a/+"`},
		{"prefix of the broker's own topics", "prefix = '$SYS'", `1:10: prefix must be a topic without + and #, not start with $ or /, not end with /, and have 1 to 256 bytes, not "$SYS"`},
		{"prefix of Home Assistant", "prefix = 'homeassistant'", `1:10: prefix "homeassistant" is that of Home Assistant, which says on homeassistant/status that it has started; choose another one`},
		{"level", "[log]\nlevel = 'loud'", `2:9: log.level must be debug, info, warn or error, not "loud"`},
		{"both words of a log", "[log]\nlevel = 'loud'\nformat = 'xml'", "2:9: log.level must be debug, info, warn or error, not \"loud\"\n3:10: log.format must be text or json, not \"xml\""},
		{"section of another name", "[homeassist]\ndiscovery = true", `1:2: unknown key "homeassist"`},
		{"Home Assistant nowhere", "[home_assistant]\nvia = 'acme'", `2:7: home_assistant.via "acme" is neither "local" nor the name of a cloud`},
		{"Home Assistant hears of nothing", cloudUp("p/#") + "[home_assistant]\nvia = 'acme'", `8:7: home_assistant.via "acme": no route up of this cloud leads to homeassistant/device/+/config there, so Home Assistant would not hear of any device; add { from = "homeassistant/#", to = "homeassistant/#" } to its up`},
		{"Home Assistant forgets", strings.Replace(cloudUp("#"), "to", "retain = false, to", 1) + "[home_assistant]\nvia = 'acme'", `8:7: home_assistant.via "acme": the route up that takes homeassistant/device/x/config says retain = false, so Home Assistant would know nothing of it after its restart; leave retain out`},
		{"Home Assistant sees no state", cloudUp("homeassistant/#") + "[home_assistant]\nvia = 'acme'", `8:7: home_assistant.via "acme": no route up of this cloud takes p/a/state, which Home Assistant needs of every device; add one such as { from = "p/a/state", to = "p/a/state" }`},
		{"broker", "[broker]\nmax_connections = 0", `2:19: broker.max_connections must be at least 1, not 0`},
		{"every mistake of the broker", "[broker]\nmax_connections = 0\nmax_inflight = 0\n[[broker.listeners]]\naddress = 'tcp://:1'\npath = '/x'\nmax_connections = -1", "2:19: broker.max_connections must be at least 1, not 0\n3:16: broker.max_inflight must be from 1 to 30000, not 0\n" +
			"6:8: broker.listeners.path is for WebSocket, but the address \"tcp://:1\" is neither ws:// nor wss://\n7:19: broker.listeners.max_connections must be at least 1, or 0 for no limit of the listener, not -1"},
		{"listener", "[[broker.listeners]]\naddress = 'x'", `2:11: broker.listeners.address must be tcp://, tls://, ws:// or wss://host:port, or unix:///path, not "x"`},
		{"every mistake of a section", "[buffer]\nsync = '2h'\nlazy = '2h'", "2:8: buffer.sync must be between 0s and 1m0s\n3:8: buffer.lazy must be between 0s and 1h0m0s"},
		{"status", "[status]\naddress = '8080'", `2:11: status.address "8080" must be host:port, e.g. "127.0.0.1:8080", or "" to switch the page off`},
		{"cloud without servers", "[[cloud]]\nname = 'a'\nup = []", `1:3: cloud.servers must name at least one server, such as "mqtts://mqtt.example.com:8883"`},
		{"a loop between clouds", "[[cloud]]\nname = 'a'\nservers = ['mqtt://x']\ndown = [{ from = 's/#', to = 'g/#' }]\n[[cloud]]\nname = 'b'\ntransit = true\nservers = ['mqtt://x:1883']\nup = [{ from = 'g/#', to = 's/#' }]",
			`9:7: cloud.up closes a loop: a message would go round for ever: up[0] of cloud "b" sends "g/#" to "s/#", down[0] of cloud "a" brings "s/#" to "g/#"; clouds "b" and "a" have a server in common`},
		{"a loop to itself", "[[broker.listeners]]\naddress = 'tcp://:1884'\n[[cloud]]\nname = 'a'\nservers = ['mqtt://localhost:1884']\nup = [{ from = '#', to = 's/#' }]",
			`6:7: cloud.up closes a loop: a message would go round for ever: up[0] of cloud "a" sends "#" to "s/#"; a server of cloud "a" is this gateway itself`},
		{"clouds of one name", "[[cloud]]\nname = 'a'\nservers = ['mqtt://a']\n[[cloud]]\nname = 'a'\nservers = ['mqtt://a']", `5:8: cloud.name "a" is taken by another cloud`},
		{"device without a name", "[[devices]]\nkind = 'host'", `1:3: devices.name is missing: every device needs one, for its topics`},
		{"device without a kind", "[[devices]]\nname = 'a'", "1:3: devices.kind is missing: it says which driver the device needs; `gateway devices` lists them"},
		{"device with a name of its own topics", "[[devices]]\nname = 'a/b'\nkind = 'x'", `2:8: devices.name "a/b" must be 1 to 64 letters, digits, '_', '-' or '.'`},
		{"reserved name", "[[devices]]\nname = 'cloud'\nkind = 'x'", `2:8: devices.name "cloud" is reserved for the gateway's own topics, choose another one`},
		{"devices of one name", "[[devices]]\nname = 'a'\nkind = 'x'\n[[devices]]\nname = 'a'\nkind = 'x'", `5:8: name "a" is taken by another device`},
		{"topics that meet", "prefix = 'p'\n[[devices]]\nname = 'a'\nkind = 'x'\n[[devices]]\nname = 'b'\nkind = 'x'\ntopic = 'p/a/b'", `8:9: topic "p/a/b" lies together with "p/a" of device "a": one begins with the other`},
		{"topics that are the same", "prefix = 'p'\n[[devices]]\nname = 'a'\nkind = 'x'\n[[devices]]\nname = 'b'\nkind = 'x'\ntopic = 'p/a'", `8:9: topic "p/a" is used by device "a" already`},
		{"topic of the gateway itself", "prefix = 'p'\n[[devices]]\nname = 'b'\nkind = 'x'\ntopic = 'p/status'", `5:9: topic "p/status" is reserved for the gateway's own topics, choose another one`},
		{"device too fast", "[[devices]]\nname = 'a'\nkind = 'x'\nevery = '1ms'", `4:9: devices.every must be at least 10ms, not 1ms`},
		{"a device without a cloud that there is not", "[[devices]]\nname = 'a'\nkind = 'x'\n[devices.safe_without]\ncloud = 'acme'", `5:9: devices.safe_without.cloud "acme" is not the name of a [[cloud]]`},
		{"a device without anything that lasts", "[[devices]]\nname = 'a'\nkind = 'x'\n[devices.safe_without]\nafter = '30s'\n", `5:9: devices.safe_without.after needs a cloud or a heartbeat beside it, that the device must not be without so long`},
		{"a device that is its own heartbeat", "prefix = 'p'\n[[devices]]\nname = 'a'\nkind = 'x'\n[devices.safe_without]\nheartbeat = 'p/a/state'\n", `6:13: safe_without.heartbeat "p/a/state" is a topic of the device itself; somebody else must publish the heartbeat`},
		{"a device without something unknown", "[[devices]]\nname = 'a'\nkind = 'x'\n[devices.safe_without]\nheartbaet = 'a'", `5:1: unknown key "heartbaet" in [devices.safe_without] (did you mean "heartbeat"?)`},
		{"device with qos 3", "[[devices]]\nname = 'a'\nkind = 'x'\nqos = 3", `4:7: devices.qos must be 0, 1 or 2, not 3`},
		{"one mistake, one sentence", "[[devices]]\nname = 5\nkind = 'x'\nunknown = 1\n", "2:8: devices.name wants a string in quotes, not the integer 5\n" +
			`4:1: unknown key "unknown" in [[devices]] (keys that only this kind has belong in [devices.options])`},
		{"what was not read is not missing", "[[devices]]\nkind = 'x'\nname = a", `3:8: unexpected character U+0061 'a' at start of value: a text stands between "..." (the rest of the file was not read)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := decode(c.text)
			if err == nil {
				t.Fatal("no error")
			}
			if got := strings.ReplaceAll(err.Error(), "gateway.toml:", ""); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestLoadSaysWhyItCanNotRead(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "none.toml"), none)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	large := filepath.Join(t.TempDir(), "large.toml")
	if err := os.WriteFile(large, make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(large, none); err == nil || !strings.HasSuffix(err.Error(), "larger than 1MiB, which no configuration is") {
		t.Errorf("got %v", err)
	}
}

func TestFaultsFoundLaterPointIntoTheFile(t *testing.T) {
	c, err := config.Load("testdata/full.toml", none)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range c.Files() {
		var at *strict.Error
		if !errors.As(c.Fault(f.Key, "%s can not be read", f.Key), &at) {
			t.Fatalf("%s has no position", f.Key)
		}
		got = append(got, fmt.Sprintf("%d:%d %s %s %v", at.Line, at.Column, f.Key, f.Path, f.Secret))
	}
	want := []string{
		"29:17 broker.listeners[1].password_file /etc/gateway/passwd true",
		"30:12 broker.listeners[1].tls.cert /etc/gateway/cert.pem false",
		"31:11 broker.listeners[1].tls.key /etc/gateway/key.pem true",
		"32:17 broker.listeners[1].tls.client_ca /etc/gateway/ca.pem false",
		"54:17 cloud[0].password_file /etc/gateway/acme.pw true",
		"55:10 cloud[0].tls.ca /etc/gateway/acme-ca.pem false",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestDefaultsAreThoseOfTheParts(t *testing.T) {
	c, err := decode("")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.Broker, broker.DefaultConfig()) || c.Buffer != buffer.DefaultConfig() || c.Status != status.DefaultConfig() {
		t.Errorf("got %+v", c)
	}
}

// TestTheShippedFileDecodes also with everything in it that is commented out.
func TestTheShippedFileDecodes(t *testing.T) {
	text, err := os.ReadFile("../systemd/gateway.toml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decode(string(text)); err != nil {
		t.Error(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if setting, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(setting, " ") {
			lines[i] = setting
		}
	}
	c, err := decode(strings.Join(lines, "\n"))
	if err != nil {
		t.Error(err)
	}
	if len(c.Cloud) == 0 || len(c.Devices) < 2 {
		t.Errorf("the comments were not read: %+v", c)
	}
}

func FuzzDecode(f *testing.F) {
	full, err := os.ReadFile("testdata/full.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(full))
	f.Add("[[cloud]]\n[[cloud]]\n[[devices]]\noptions.a = 1")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := decode(text)
		var all strict.Errors
		if err != nil && !errors.As(err, &all) {
			t.Errorf("an error without a position: %v", err)
		}
	})
}

// cloudUp is a file with a device and a cloud that takes these topics, 6 lines long.
func cloudUp(filter string) string {
	return "prefix = 'p'\ndevices = [{ name = 'a', kind = 'x' }]\n[[cloud]]\nname = 'acme'\nservers = ['mqtt://a']\n" +
		"up = [{ from = '" + filter + "', to = '" + filter + "' }]\n"
}
