package homeassistant_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"edgegateway/bridge/homeassistant"
	"edgegateway/drivers"
)

var gateway = homeassistant.Gateway{ID: "pi", Version: "1.2.3", Status: "farm/status"}

func plain(c drivers.Channel) homeassistant.Channel {
	return homeassistant.Channel{Channel: c, Decimals: -1}
}

func TestTheMessageOfADevice(t *testing.T) {
	one := homeassistant.Device{
		Name: "boiler", Kind: "sim", Base: "farm/boiler", QoS: 1,
		Channels: []homeassistant.Channel{plain(drivers.Channel{Name: "temperature", Quantity: drivers.Temperature, Unit: "°C", Type: drivers.Float})},
	}
	m, readOnly, err := homeassistant.DefaultConfig().OfDevice(gateway, one, homeassistant.Site{})
	if err != nil || readOnly != nil {
		t.Fatal(readOnly, err)
	}
	if m.Topic != "homeassistant/device/pi_boiler/config" {
		t.Errorf("topic %s", m.Topic)
	}
	want := `{"device":{"identifiers":["edgegateway/pi/boiler"],"name":"boiler","manufacturer":"edgegateway","model":"sim","via_device":"edgegateway/pi"},` +
		`"origin":{"name":"edgegateway","sw_version":"1.2.3"},"state_topic":"farm/boiler/state","qos":1,` +
		`"availability":[{"topic":"farm/status"},{"topic":"farm/boiler/availability"}],"availability_mode":"all",` +
		`"components":{"temperature":{"platform":"sensor","unique_id":"edgegateway/pi/boiler/temperature","name":"Temperature",` +
		`"value_template":"{% set v = value_json[\"temperature\"] %}{% if v is number and v is not boolean %}{{ v }}{% elif v is defined %}None{% endif %}","device_class":"temperature","state_class":"measurement","unit_of_measurement":"°C"}}}`
	if got := string(m.Payload); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTheMessageOfTheGatewayItself(t *testing.T) {
	m, err := homeassistant.DefaultConfig().OfGateway(gateway, homeassistant.Site{})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"device":{"identifiers":["edgegateway/pi"],"name":"pi","manufacturer":"edgegateway","model":"MQTT edge gateway","sw_version":"1.2.3"},` +
		`"origin":{"name":"edgegateway","sw_version":"1.2.3"},"state_topic":"farm/status","qos":1,` +
		`"components":{"status":{"platform":"binary_sensor","unique_id":"edgegateway/pi/status","name":"Status","device_class":"connectivity",` +
		`"payload_on":"online","payload_off":"offline","entity_category":"diagnostic"}}}`
	if got := string(m.Payload); m.Topic != "homeassistant/device/pi/config" || got != want {
		t.Errorf("%s\ngot  %s\nwant %s", m.Topic, got, want)
	}
}

// components announces channels and returns what became of each.
func components(t *testing.T, site homeassistant.Site, channels ...homeassistant.Channel) map[string]map[string]any {
	t.Helper()
	m, _, err := homeassistant.DefaultConfig().OfDevice(gateway, homeassistant.Device{Name: "x", Title: "X", Base: "farm/x", Channels: channels}, site)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Components map[string]map[string]any `json:"components"`
	}
	if err := json.Unmarshal(m.Payload, &got); err != nil {
		t.Fatal(err)
	}
	return got.Components
}

func TestChannelsBecomeEntities(t *testing.T) {
	decimals := plain(drivers.Channel{Name: "a", Type: drivers.Float})
	decimals.Decimals, decimals.Title = 0, "Alpha"
	for _, c := range []struct {
		name    string
		channel homeassistant.Channel
		want    string // keys beside platform, unique_id, name, value_template
	}{
		{"a plain number", plain(drivers.Channel{Name: "a", Type: drivers.Int}), `sensor {"state_class":"measurement"}`},
		{"a counter", plain(drivers.Channel{Name: "a", Type: drivers.Int, Quantity: drivers.Count, Cumulative: true}), `sensor {"state_class":"total_increasing"}`},
		{"a meter that can be set", plain(drivers.Channel{Name: "a", Type: drivers.Float, Quantity: drivers.Water, Unit: "L", Cumulative: true, Writable: true}),
			`sensor {"device_class":"water","state_class":"total_increasing","unit_of_measurement":"L"}`},
		{"a text", plain(drivers.Channel{Name: "a", Type: drivers.Text}), `sensor {}`},
		{"an input", plain(drivers.Channel{Name: "a", Type: drivers.Bool, Quantity: drivers.State}), `binary_sensor {"payload_off":"OFF","payload_on":"ON"}`},
		{"a switch", plain(drivers.Channel{Name: "a", Type: drivers.Bool, Writable: true}), `switch {"command_topic":"farm/x/a/set","payload_off":"OFF","payload_on":"ON"}`},
		{"a number with limits", plain(drivers.Channel{Name: "a", Type: drivers.Float, Writable: true, Unit: "%", Range: drivers.Range{Min: 0, Max: 5}}),
			`number {"command_topic":"farm/x/a/set","max":5,"min":0,"mode":"auto","step":0.001,"unit_of_measurement":"%"}`},
		{"a whole number without limits", plain(drivers.Channel{Name: "a", Type: drivers.Int, Writable: true}),
			`number {"command_topic":"farm/x/a/set","max":1000000000,"min":-1000000000,"mode":"box","step":1}`},
		{"a text to set", plain(drivers.Channel{Name: "a", Type: drivers.Text, Writable: true}), `text {"command_topic":"farm/x/a/set"}`},
		{"decimals", decimals, `sensor {"state_class":"measurement","suggested_display_precision":0}`},
	} {
		one := components(t, homeassistant.Site{}, c.channel)["a"]
		platform := one["platform"]
		if one["unique_id"] != "edgegateway/pi/x/a" {
			t.Errorf("%s: unique_id %v", c.name, one["unique_id"])
		}
		for _, k := range []string{"platform", "unique_id", "name", "value_template"} {
			if one[k] == nil {
				t.Errorf("%s: no %s", c.name, k)
			}
			delete(one, k)
		}
		text, _ := json.Marshal(one)
		if got := fmt.Sprintf("%s %s", platform, text); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
	limited := plain(drivers.Channel{Name: "a", Type: drivers.Float, Writable: true, Range: drivers.Range{Min: -40, Max: 1e-7}})
	if got := components(t, homeassistant.Site{}, limited)["a"]["value_template"].(string); !strings.Contains(got, "is not boolean and -40 <= v <= 1e-07 %}") {
		t.Errorf("a register may read beyond the limits of what can be set: %v", got)
	}
	if got := components(t, homeassistant.Site{}, decimals)["a"]["name"]; got != "Alpha" {
		t.Errorf("name %v", got)
	}
}

func TestAChannelOfAnyNameIsQuotedAndNotSet(t *testing.T) {
	name := `a"/b` + "\n}}"
	one := components(t, homeassistant.Site{}, plain(drivers.Channel{Name: name, Type: drivers.Float, Writable: true}))[name]
	if got, want := one["value_template"], `{% set v = value_json["a\"/b\n}}"] %}{% if v is number and v is not boolean %}{{ v }}{% elif v is defined %}None{% endif %}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if one["platform"] != "sensor" {
		t.Errorf("got %v: its command would need a topic with a level more", one["platform"])
	}
}

// cloud is a Site with the routes farm/# to up/farm/#, homeassistant/# as it is, and
// down/# to farm/#.
func cloud(up, down bool) homeassistant.Site {
	route := func(from, to string, there bool) func(string) (string, bool) {
		return func(topic string) (string, bool) {
			if strings.HasPrefix(topic, "homeassistant/") {
				return topic, true
			}
			rest, ok := strings.CutPrefix(topic, from)
			return to + rest, ok && there
		}
	}
	return homeassistant.Site{
		Name: "acme", Status: "gateways/pi/status",
		Up: route("farm/", "up/farm/", up), Origin: route("up/farm/", "farm/", up),
		Down: route("down/", "farm/", down), Source: route("farm/", "down/", down),
	}
}

func TestAtACloudTheTopicsAreThoseOfTheCloud(t *testing.T) {
	valve := plain(drivers.Channel{Name: "valve", Type: drivers.Bool, Writable: true})
	one := homeassistant.Device{Name: "x", Base: "farm/x", Channels: []homeassistant.Channel{valve}}
	m, readOnly, err := homeassistant.DefaultConfig().OfDevice(gateway, one, cloud(true, true))
	if err != nil || readOnly != nil {
		t.Fatal(readOnly, err)
	}
	for _, want := range []string{`"state_topic":"up/farm/x/state"`, `[{"topic":"gateways/pi/status"},{"topic":"up/farm/x/availability"}]`, `"command_topic":"down/x/valve/set"`} {
		if !strings.Contains(string(m.Payload), want) {
			t.Errorf("no %s in %s", want, m.Payload)
		}
	}
	if m, err := homeassistant.DefaultConfig().OfGateway(gateway, cloud(true, true)); err != nil || !strings.Contains(string(m.Payload), `"state_topic":"gateways/pi/status"`) {
		t.Errorf("%v %s", err, m.Payload)
	}

	m, readOnly, err = homeassistant.DefaultConfig().OfDevice(gateway, one, cloud(true, false))
	if err != nil || len(readOnly) != 1 || readOnly[0] != "valve" || !strings.Contains(string(m.Payload), `"platform":"binary_sensor"`) {
		t.Errorf("without a route down: %v, %v\n%s", readOnly, err, m.Payload)
	}
	if _, _, err := homeassistant.DefaultConfig().OfDevice(gateway, one, cloud(false, true)); err == nil ||
		!strings.Contains(err.Error(), `no route up of this cloud takes farm/x/state`) {
		t.Errorf("without a route up: %v", err)
	}
}

func TestWhatGoesAwayIsToldByItsPlatform(t *testing.T) {
	payload := func(components string) []byte {
		return []byte(`{"device":{"identifiers":["x"]},"origin":{"name":"o"},"components":{` + components + `}}`)
	}
	const a, b, gone = `"a":{"platform":"sensor","unique_id":"1"}`, `"b":{"platform":"switch","unique_id":"2"}`, `"b":{"platform":"switch"}`
	for _, step := range []struct {
		name, old, next string
		forget          bool
		want            string // "": next as it is
	}{
		{"the same", a, a, false, ""},
		{"more", a, a + "," + b, false, ""},
		{"one goes", a + "," + b, a, false, a + "," + gone},
		{"one goes only now", a + "," + b, a, true, a + "," + gone},
		{"one is going", a + "," + gone, a, false, a + "," + gone},
		{"one is gone", a + "," + gone, a, true, ""},
		{"one comes again", a + "," + gone, a + "," + b, false, ""},
		{"nothing is left", b, "", false, gone},
	} {
		got, leaves := homeassistant.Farewell(payload(step.old), payload(step.next), step.forget)
		want := payload(step.next)
		if leaves != (step.want != "") {
			t.Errorf("%s: leaves is %v", step.name, leaves)
		}
		if leaves {
			want = payload(step.want)
		}
		var is, should any
		if json.Unmarshal(got, &is) != nil || json.Unmarshal(want, &should) != nil || !reflect.DeepEqual(is, should) {
			t.Errorf("%s:\ngot  %s\nwant %s", step.name, got, want)
		}
	}
	for _, broken := range []string{"not JSON", "[]", `{"components":3}`} {
		if got, leaves := homeassistant.Farewell([]byte(broken), payload(a), false); leaves || string(got) != string(payload(a)) {
			t.Errorf("after %s: %s", broken, got)
		}
		if got, leaves := homeassistant.Farewell(payload(a), []byte(broken), false); leaves || string(got) != broken {
			t.Errorf("before %s: %s", broken, got)
		}
	}
}

// Home Assistant knows an entity by the platform and the key of its component.
func TestAnEntityKeepsItsKeyAndAnotherPlatformGetsAnotherOne(t *testing.T) {
	var earlier []byte
	for _, step := range []struct {
		name     string
		writable bool
		forget   bool
		want     []string // keys with their platforms, "-" for one that goes
	}{
		{"first", false, false, []string{"a sensor"}},
		{"set", true, false, []string{"a -sensor", "a.number number"}},
		{"again", true, false, []string{"a -sensor", "a.number number"}},
		{"heard", true, true, []string{"a.number number"}},
		{"still", true, false, []string{"a.number number"}},
		{"back", false, false, []string{"a sensor", "a.number -number"}},
		{"set before that was heard", true, false, []string{"a -sensor", "a.number number"}},
	} {
		one := homeassistant.Device{Name: "x", Base: "farm/x", Earlier: earlier, Complete: true, Channels: []homeassistant.Channel{
			plain(drivers.Channel{Name: "a", Type: drivers.Float, Writable: step.writable}),
		}}
		m, _, err := homeassistant.DefaultConfig().OfDevice(gateway, one, homeassistant.Site{})
		if err != nil {
			t.Fatal(err)
		}
		earlier, _ = homeassistant.Farewell(earlier, m.Payload, step.forget)
		if got := keys(t, earlier); !slices.Equal(got, step.want) {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}

func keys(t *testing.T, payload []byte) (all []string) {
	t.Helper()
	var m struct {
		Components map[string]struct {
			Platform string `json:"platform"`
			UniqueID string `json:"unique_id"`
		} `json:"components"`
	}
	if err := json.Unmarshal(payload, &m); err != nil {
		t.Fatal(err)
	}
	for _, key := range slices.Sorted(maps.Keys(m.Components)) {
		c := m.Components[key]
		if c.UniqueID == "" {
			c.Platform = "-" + c.Platform
		}
		all = append(all, key+" "+c.Platform)
	}
	return all
}

// Home Assistant splits the identifiers of its components at spaces.
func TestNoKeyHasASpaceAndNoTwoAreTheSame(t *testing.T) {
	var earlier []byte
	channels := []homeassistant.Channel{
		plain(drivers.Channel{Name: "pm 2.5", Type: drivers.Float}), plain(drivers.Channel{Name: "pm_2.5", Type: drivers.Float}),
		plain(drivers.Channel{Name: "a", Type: drivers.Float}), plain(drivers.Channel{Name: "a.number", Type: drivers.Float, Writable: true}),
	}
	for _, want := range [][]string{
		{"a sensor", "a.number number", "pm_2.5 sensor", "pm_2.5_1fb980cd sensor"},
		{"a -sensor", "a.number number", "a.number.number number", "pm_2.5 sensor", "pm_2.5_1fb980cd sensor"},
		{"a -sensor", "a.number number", "a.number.number number", "a.number.number.sensor sensor", "pm_2.5 sensor", "pm_2.5_1fb980cd sensor"},
	} {
		m, _, err := homeassistant.DefaultConfig().OfDevice(gateway, homeassistant.Device{Name: "x", Base: "farm/x", Earlier: earlier, Complete: true, Channels: channels}, homeassistant.Site{})
		if err != nil {
			t.Fatal(err)
		}
		earlier, _ = homeassistant.Farewell(earlier, m.Payload, false)
		if got := keys(t, earlier); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if channels[2].Writable {
			channels = append(channels, plain(drivers.Channel{Name: "a.number.number", Type: drivers.Float}))
		}
		channels[2].Writable = true
	}
}

func TestChannelsThatAreNotSeenYetStay(t *testing.T) {
	earlier := []byte(`{"device":{"model":"serial-line"},"components":{"old":{"platform":"sensor","unique_id":"u"},"going":{"platform":"sensor"},"a":{"platform":"text","unique_id":"edgegateway/pi/x/a"}}}`)
	one := homeassistant.Device{Name: "x", Base: "farm/x", Earlier: earlier, Channels: []homeassistant.Channel{plain(drivers.Channel{Name: "a", Type: drivers.Bool})}}
	for _, c := range []struct {
		complete bool
		kind     string
		want     []string
	}{
		{false, "serial-line", []string{"a.binary_sensor binary_sensor", "old sensor"}},
		{true, "serial-line", []string{"a.binary_sensor binary_sensor"}},
		{false, "other", []string{"a.binary_sensor binary_sensor"}}, // another device of the same name
	} {
		one.Complete, one.Kind = c.complete, c.kind
		m, _, err := homeassistant.DefaultConfig().OfDevice(gateway, one, homeassistant.Site{})
		if err != nil {
			t.Fatal(err)
		}
		if got := keys(t, m.Payload); !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

// A receiver of what all the neighbours send names other channels every day.
func TestADeviceThatNamesEverNewChannelsIsBounded(t *testing.T) {
	var earlier []byte
	for run := range 10 {
		one := homeassistant.Device{Name: "x", Base: "farm/x", Earlier: earlier}
		for i := range 200 {
			one.Channels = append(one.Channels, plain(drivers.Channel{Name: fmt.Sprintf("c%d_%d", run, i), Type: drivers.Float}))
		}
		m, _, err := homeassistant.DefaultConfig().OfDevice(gateway, one, homeassistant.Site{})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(keys(t, m.Payload)); n != min(200*(run+1), 512) {
			t.Errorf("run %d: %d components", run, n)
		}
		earlier, _ = homeassistant.Farewell(earlier, m.Payload, run%3 == 0)
		if n := len(keys(t, earlier)); n > 2*512 {
			t.Errorf("run %d: %d with those that go", run, n)
		}
	}
}

func TestWhatTheSectionMayHold(t *testing.T) {
	for _, c := range []struct {
		edit func(*homeassistant.Config)
		want string
	}{
		{func(c *homeassistant.Config) {}, ""},
		{func(c *homeassistant.Config) { c.Prefix = "a/+" }, `prefix must be`},
		{func(c *homeassistant.Config) { c.Prefix = "" }, `prefix must be`},
		{func(c *homeassistant.Config) { c.Via = "" }, `via must be "local" or the name of a cloud`},
	} {
		one := homeassistant.DefaultConfig()
		c.edit(&one)
		err := one.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}
