package homeassistant_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"edgegateway/bridge/homeassistant"
	"edgegateway/drivers"
)

// What the schemas of Home Assistant take, of the keys that there are: schemas.py
// (DEVICE_DISCOVERY_SCHEMA and what it is made of) and the files of the platforms in
// components/mqtt of home-assistant/core, in versions of 2024 and 2025. A device with a key
// in its root that is none is refused as a whole; one in a component is left out, and
// means nothing.
var (
	ofRoot      = []string{"availability", "availability_mode", "command_topic", "components", "device", "encoding", "origin", "qos", "state_topic"}
	ofDevice    = []string{"configuration_url", "connections", "hw_version", "identifiers", "manufacturer", "model", "model_id", "name", "serial_number", "suggested_area", "sw_version", "via_device"}
	ofOrigin    = []string{"name", "support_url", "sw_version"}
	ofAll       = []string{"entity_category", "icon", "name", "platform", "state_topic", "unique_id", "value_template"}
	ofPlatforms = map[string][]string{
		"sensor":        {"device_class", "expire_after", "options", "state_class", "suggested_display_precision", "unit_of_measurement"},
		"binary_sensor": {"device_class", "expire_after", "payload_off", "payload_on"},
		"switch":        {"command_template", "command_topic", "device_class", "payload_off", "payload_on"},
		"number":        {"command_template", "command_topic", "device_class", "max", "min", "mode", "step", "unit_of_measurement"},
		"text":          {"command_template", "command_topic", "max", "min", "mode", "pattern"},
	}
)

// Topics of discovery (discovery.py, TOPIC_MATCHER).
var matcher = regexp.MustCompile(`^homeassistant/device/[a-zA-Z0-9_-]+/config$`)

func TestTheSchemasOfHomeAssistantTakeEveryMessage(t *testing.T) {
	var channels []homeassistant.Channel
	for _, kind := range []drivers.Type{drivers.Float, drivers.Int, drivers.Bool, drivers.Text} {
		for _, q := range append(drivers.Quantities(), "", "own") {
			for _, writable := range []bool{false, true} {
				for _, limits := range []drivers.Range{{}, {Min: -40, Max: 1e-3}} {
					for _, cumulative := range []bool{false, true} {
						for _, unit := range append(homeassistant.Units(q), "", "furlong") {
							c := drivers.Channel{Quantity: q, Type: kind, Writable: writable, Range: limits, Cumulative: cumulative, Unit: unit}
							c.Name = fmt.Sprintf("pm10 %d", len(channels))
							channels = append(channels, homeassistant.Channel{Channel: c, Decimals: len(channels)%3 - 1})
						}
					}
				}
			}
		}
	}
	c := homeassistant.DefaultConfig()
	device, _, err := c.OfDevice(gateway, homeassistant.Device{Name: "ü.x", Title: "X", Kind: "sim", Base: "farm/x", QoS: 2, Channels: channels, Complete: true}, homeassistant.Site{})
	if err != nil {
		t.Fatal(err)
	}
	itself, err := c.OfGateway(gateway, homeassistant.Site{})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[any]int)
	for _, m := range []homeassistant.Message{device, itself} {
		var root map[string]any
		if err := json.Unmarshal(m.Payload, &root); err != nil {
			t.Fatal(err)
		}
		if !matcher.MatchString(m.Topic) {
			t.Errorf("topic %s", m.Topic)
		}
		take(t, "the root", root, ofRoot)
		take(t, "device", root["device"].(map[string]any), ofDevice)
		take(t, "origin", root["origin"].(map[string]any), ofOrigin)
		for key, one := range root["components"].(map[string]any) {
			c := one.(map[string]any)
			take(t, key, c, slices.Concat(ofAll, ofPlatforms[c["platform"].(string)]))
			seen[c["platform"]]++
			if strings.Contains(key, " ") {
				t.Errorf("the key %q has a space", key)
			}
			if c["platform"] == "number" && (c["step"].(float64) < 0.001 || c["min"].(float64) >= c["max"].(float64)) {
				t.Errorf("number.py refuses %v", c)
			}
		}
	}
	if len(seen) != len(ofPlatforms) {
		t.Errorf("not all platforms: %v", seen)
	}
}

// take reports keys that are not among those allowed.
func take(t *testing.T, name string, object map[string]any, allowed []string) {
	t.Helper()
	for key := range object {
		if !slices.Contains(allowed, key) {
			t.Errorf("%s has the key %q, which Home Assistant does not know", name, key)
		}
	}
}
