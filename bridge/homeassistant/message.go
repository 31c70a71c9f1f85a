package homeassistant

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"edgegateway/drivers"
)

// Gateway is what a message says of the gateway.
type Gateway struct {
	ID      string // [A-Za-z0-9_-]{1,64}; together with the name of a device it stays the same for ever
	Version string
	Status  string // topic of online and offline
}

// Device is what a message says of a device.
type Device struct {
	Name     string // as in its topics; unique in the gateway
	Title    string // for people; "" = Name
	Kind     string
	Base     string // its topics begin with it
	QoS      byte
	Channels []Channel

	// Earlier is the payload that is retained, nil if there is none: Home Assistant knows
	// the entities by the keys that they have there.
	Earlier []byte

	// Complete says that Channels are all that the device has; else those of Earlier that
	// it has not shown yet stay, unless that was of another kind.
	Complete bool
}

// Channel is one channel of a device. Its type is known.
type Channel struct {
	drivers.Channel
	Title    string // for people; "" = made of the name
	Decimals int    // that are shown; below 0 = as Home Assistant likes
}

// Message is a message of discovery.
type Message struct {
	Topic   string
	Payload []byte
}

// What Home Assistant reads. The names are those of its documentation in full, not
// the short ones: people look at these messages.
type (
	config struct {
		Device           deviceInfo     `json:"device"`
		Origin           origin         `json:"origin"`
		StateTopic       string         `json:"state_topic,omitempty"`
		QoS              byte           `json:"qos"`
		Availability     []available    `json:"availability,omitempty"`
		AvailabilityMode string         `json:"availability_mode,omitempty"`
		Components       map[string]any `json:"components"`
	}
	deviceInfo struct {
		Identifiers  []string `json:"identifiers"`
		Name         string   `json:"name"`
		Manufacturer string   `json:"manufacturer,omitempty"`
		Model        string   `json:"model,omitempty"`
		SWVersion    string   `json:"sw_version,omitempty"`
		ViaDevice    string   `json:"via_device,omitempty"`
	}
	origin struct {
		Name      string `json:"name"`
		SWVersion string `json:"sw_version,omitempty"`
	}
	available struct {
		Topic string `json:"topic"`
	}
	component struct {
		Platform      string   `json:"platform"`
		UniqueID      string   `json:"unique_id"`
		Name          string   `json:"name"`
		StateTopic    string   `json:"state_topic,omitempty"`
		ValueTemplate string   `json:"value_template,omitempty"`
		DeviceClass   string   `json:"device_class,omitempty"`
		StateClass    string   `json:"state_class,omitempty"`
		Unit          string   `json:"unit_of_measurement,omitempty"`
		Decimals      *int     `json:"suggested_display_precision,omitempty"`
		CommandTopic  string   `json:"command_topic,omitempty"`
		PayloadOn     string   `json:"payload_on,omitempty"`
		PayloadOff    string   `json:"payload_off,omitempty"`
		Min           *float64 `json:"min,omitempty"`
		Max           *float64 `json:"max,omitempty"`
		Step          float64  `json:"step,omitempty"`
		Mode          string   `json:"mode,omitempty"`
		Category      string   `json:"entity_category,omitempty"`
	}
)

// mostComponents bounds what is told of a device whose channels are named by what it
// receives: with each start it may have others.
const mostComponents = 512

// maker is who made the devices, as far as Home Assistant is concerned.
const maker = "edgegateway"

// Topic is what the gateway publishes the message of a device on, "" as name being
// the gateway itself; ok is false if no route leads there.
func (c Config) Topic(gateway, device string, s Site) (topic string, ok bool) {
	return s.Publishes(c.topicOf(objectID(gateway, device)))
}

// topicOf is where the message of a device is retained at Home Assistant.
func (c Config) topicOf(object string) string { return c.Prefix + "/device/" + object + "/config" }

// OfGateway is the message of the gateway itself, which its devices refer to.
func (c Config) OfGateway(g Gateway, s Site) (Message, error) {
	if s.Name != "" {
		g.Status = s.Status
	}
	m := config{
		Device:     deviceInfo{Identifiers: []string{identifier(g.ID, "")}, Name: g.ID, Manufacturer: maker, Model: "MQTT edge gateway", SWVersion: g.Version},
		Origin:     origin{Name: maker, SWVersion: g.Version},
		StateTopic: g.Status,
		QoS:        1,
		Components: map[string]any{"status": component{
			Platform: "binary_sensor", UniqueID: identifier(g.ID, "") + "/status", Name: "Status", DeviceClass: "connectivity",
			PayloadOn: "online", PayloadOff: "offline", Category: "diagnostic",
		}},
	}
	return c.message(m, s, objectID(g.ID, ""))
}

// OfDevice is the message of a device. Without the routes that Site.Check asks for it
// is an error. A channel that can be set, and whose commands have no way, can only be
// looked at; readOnly names these.
func (c Config) OfDevice(g Gateway, d Device, s Site) (m Message, readOnly []string, err error) {
	if err := s.Check(c, d.Base); err != nil {
		return Message{}, nil, err
	}
	if s.Name != "" {
		g.Status = s.Status
	}
	state, _ := via(s.Up, d.Base+"/state")
	availability, _ := via(s.Up, d.Base+"/availability")
	out := config{
		Device: deviceInfo{
			Identifiers: []string{identifier(g.ID, d.Name)}, Name: d.Title, Manufacturer: maker, Model: d.Kind,
			ViaDevice: identifier(g.ID, ""),
		},
		Origin:     origin{Name: maker, SWVersion: g.Version},
		StateTopic: state,
		QoS:        d.QoS,
		// After a crash only the status of the gateway says offline.
		Availability:     []available{{g.Status}, {availability}},
		AvailabilityMode: "all",
		Components:       map[string]any{},
	}
	if out.Device.Name == "" {
		out.Device.Name = d.Name
	}
	earlier := componentsOf(d.Earlier)
	if !d.Complete && modelOf(d.Earlier) == d.Kind {
		for _, key := range slices.Sorted(maps.Keys(earlier)) {
			if !earlier[key].leaves() && len(out.Components)+len(d.Channels) < mostComponents {
				out.Components[key] = earlier[key].text
			}
		}
	}
	for _, ch := range d.Channels {
		command := ""
		// A meter that can be set once is looked at every day: only a sensor has
		// statistics, and a number would not be offered as a meter of energy or water.
		if ch.Writable && !ch.Cumulative && !strings.ContainsAny(ch.Name, "/+#\x00") {
			var ok bool
			if command, ok = via(s.Source, d.Base+"/"+ch.Name+"/set"); !ok {
				command, readOnly = "", append(readOnly, ch.Name)
			}
		}
		one := componentOf(ch, command)
		one.UniqueID = identifier(g.ID, d.Name) + "/" + ch.Name
		for key, was := range earlier {
			if was.UniqueID == one.UniqueID {
				delete(out.Components, key)
			}
		}
		out.Components[keyOf(earlier, out.Components, ch.Name, one)] = one
	}
	m, err = c.message(out, s, objectID(g.ID, d.Name))
	return m, readOnly, err
}

func (c Config) message(m config, s Site, object string) (Message, error) {
	topic, ok := s.Publishes(c.topicOf(object))
	if !ok {
		return Message{}, s.Check(c, "")
	}
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return Message{}, fmt.Errorf("write the discovery of %s: %w", object, err)
	}
	return Message{Topic: topic, Payload: []byte(strings.TrimSuffix(text.String(), "\n"))}, nil
}

// Bounds of a number that has none: Home Assistant's own would be 1 to 100.
const unlimited = 1e9

func componentOf(c Channel, command string) component {
	one := component{Name: c.Title, ValueTemplate: numberTemplate(c.Name, "")}
	if one.Name == "" {
		one.Name = titleOf(c.Name)
	}
	switch {
	case c.Type == drivers.Bool:
		one.Platform, one.ValueTemplate = "binary_sensor", boolTemplate(c.Name)
		one.PayloadOn, one.PayloadOff = "ON", "OFF"
		if command != "" {
			one.Platform, one.CommandTopic = "switch", command
		}
	case c.Type == drivers.Text:
		one.Platform, one.ValueTemplate = "sensor", textTemplate(c.Name)
		if command != "" {
			one.Platform, one.CommandTopic = "text", command
		}
	default:
		one.Platform, one.DeviceClass, one.Unit = "sensor", classOf(c.Channel), c.Unit
		if command == "" {
			one.StateClass = stateClassOf(c.Channel)
			if c.Decimals >= 0 {
				one.Decimals = &c.Decimals
			}
			break
		}
		one.Platform, one.CommandTopic, one.Mode, one.Step = "number", command, "auto", 0.001 // the finest that there is
		if c.Type == drivers.Int {
			one.Step = 1
		}
		limits := c.Range
		if !limits.Limited() {
			limits, one.Mode = drivers.Range{Min: -unlimited, Max: unlimited}, "box"
		}
		one.Min, one.Max = &limits.Min, &limits.Max
		one.ValueTemplate = numberTemplate(c.Name, fmt.Sprintf(" and %v <= v <= %v", limits.Min, limits.Max))
	}
	return one
}

// The templates take a value out of the state. A channel that is not there yet gives
// nothing, which Home Assistant passes over; null gives None, which is unknown. So does
// what is of another type, such as a text where there was a number, or beyond the limits
// of what can be set: for Home Assistant it would be an error for each state, and it would
// go on to show the last number.
func numberTemplate(channel, limits string) string {
	return "{% set v = value_json[" + literal(channel) + "] %}{% if v is number and v is not boolean" + limits + " %}{{ v }}{% elif v is defined %}None{% endif %}"
}

func boolTemplate(channel string) string {
	return "{% set v = value_json[" + literal(channel) + "] %}{% if v is boolean %}{{ 'ON' if v else 'OFF' }}{% elif v is defined %}None{% endif %}"
}

// textTemplate gives at most the 255 characters that a state of Home Assistant may have.
// Nothing would be an empty text.
func textTemplate(channel string) string {
	return "{% set v = value_json[" + literal(channel) + "] %}{{ (v | string)[:255] if v is string or v is number else None }}"
}

// literal writes a string as Jinja reads it: the escapes of JSON are among its own.
func literal(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can always be written
	return strings.TrimSuffix(b.String(), "\n")
}

// titleOf makes "Load 1m" of load_1m, and "PM2.5" of pm2_5.
func titleOf(name string) string {
	name = strings.NewReplacer("pm2_5", "PM2.5", "pm1_0", "PM1.0").Replace(name)
	words := strings.Fields(strings.ReplaceAll(name, "_", " "))
	for i, word := range words {
		if slices.Contains(abbreviations(), word) {
			words[i] = strings.ToUpper(word)
		}
	}
	name = strings.Join(words, " ")
	r, size := utf8.DecodeRuneInString(name)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(r)) + name[size:]
}

// abbreviations are the words in names of channels that people write in capitals.
func abbreviations() []string {
	return []string{
		"ac", "co", "co2", "cpu", "dc", "gps", "hdop", "id", "ip", "no2", "nox", "o3", "pdop", "pm1", "pm10", "pm25", "pm4",
		"rh", "rpm", "rssi", "snr", "so2", "tvoc", "uv", "vdop", "voc",
	}
}

// identifier names a device to Home Assistant, the gateway itself without one. None
// of the parts holds a slash, so that two never meet.
func identifier(gateway, device string) string {
	if device == "" {
		return maker + "/" + gateway
	}
	return maker + "/" + gateway + "/" + device
}

// objectID is the same for a topic, where only [a-zA-Z0-9_-] may stand. A sum tells
// apart what would be written alike.
func objectID(gateway, device string) string {
	clear := !strings.Contains(gateway, "_")
	id := gateway
	if device != "" {
		id += "_" + strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
				return r
			}
			clear = false
			return '_'
		}, device)
	}
	if clear {
		return id
	}
	sum := fnv.New32a()
	sum.Write([]byte(identifier(gateway, device)))
	return fmt.Sprintf("%s_%08x", id, sum.Sum32())
}
