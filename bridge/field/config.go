package field

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"edgegateway/bridge/homeassistant"
)

// Config is what the bridge needs to know.
type Config struct {
	// Prefix is the root of the gateway's own topics.
	Prefix string

	Devices []DeviceConfig

	HomeAssistant homeassistant.Config
	Site          homeassistant.Site // where Home Assistant is; goes with its Via

	ID, Version string // of the gateway; for Home Assistant
}

// DeviceConfig is one [[devices]] table.
type DeviceConfig struct {
	// Name is the device's segment in its topics: letters, digits, '_', '-' and
	// '.', at most 64 characters, unique, and not status, cloud or alarm.
	Name string `toml:"name"`

	// Kind is what sort of device it is; `gateway devices` lists them.
	Kind string `toml:"kind"`

	// Every is the time between two samples, at least 10ms. Devices that tell by
	// themselves when something changes do not use it. The first sample comes at once;
	// those behind it are in four moments of at most 1s, so that devices with the same interval
	// do not all measure in the same moment.
	Every time.Duration `toml:"every"`

	// QoS is that of state and availability, 0 to 2.
	QoS byte `toml:"qos"`

	// Topic takes the place of <prefix>/<name> in all topics of the device.
	Topic string `toml:"topic"`

	// MaxCommandRate is how many commands per second are accepted, and as many at once;
	// 0 is no limit. One more is refused with "quota exceeded".
	MaxCommandRate int `toml:"max_command_rate"`

	// Title is what people see of the device in Home Assistant. Default: its name.
	Title string `toml:"title"`

	// MinInterval is the least time between two states. What changes sooner is published
	// when it is over, as the newest values are then.
	MinInterval time.Duration `toml:"min_interval"`

	// MaxInterval is the longest time between two states of a device that is online,
	// also when nothing has changed; 0s: there is none.
	MaxInterval time.Duration `toml:"max_interval"`

	// StaleAfter is how old a value may be; then its quality is "stale". 0s: any age. It is
	// stale in any case when the device was sampled again in vain.
	StaleAfter time.Duration `toml:"stale_after"`

	// SafeWithout takes the device to its safe state when a cloud or a heartbeat is lost.
	SafeWithout SafeWithout `toml:"safe_without"`

	// Channels say what happens to single channels, by their name.
	Channels map[string]ChannelConfig `toml:"channels"`

	// Options are the keys that only the kind knows.
	//
	// The function decodes them into dst, a pointer to a struct that holds their
	// defaults; nil means that there are none.
	Options func(dst any) error `toml:"options"`

	// Fault makes an error that points at a key of this table in the file. Nil
	// outside of a file.
	Fault func(key, sentence string) error `toml:",fault"`
}

// DefaultDeviceConfig is what a [[devices]] table starts from.
func DefaultDeviceConfig() DeviceConfig {
	return DeviceConfig{Every: 10 * time.Second, QoS: 1, SafeWithout: SafeWithout{After: defaultAfter}}
}

const (
	shortestEvery = 10 * time.Millisecond
	mostCommands  = 1000 // per second
	longestName   = 64   // characters
	longestTopic  = 1024 // bytes; MQTT allows 65535, and a filter must still fit
)

// Validate says what is wrong with this device alone, in sentences that start
// with the key.
func (c DeviceConfig) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	switch {
	case c.Name == "":
		fail("name is missing: every device needs one, for its topics")
	case len([]rune(c.Name)) > longestName || strings.ContainsFunc(c.Name, notInName):
		fail("name %q must be 1 to %d letters, digits, '_', '-' or '.'", c.Name, longestName)
	case reserved(c.Name):
		fail("name %q is reserved for the gateway's own topics, choose another one", c.Name)
	}
	if c.Kind == "" {
		fail("kind is missing: it says which driver the device needs; `gateway devices` lists them")
	}
	if c.Every < shortestEvery {
		fail("every must be at least %v, not %v", shortestEvery, c.Every)
	}
	if c.QoS > 2 {
		fail("qos must be 0, 1 or 2, not %d", c.QoS)
	}
	if c.MaxCommandRate < 0 || c.MaxCommandRate > mostCommands {
		fail("max_command_rate must be from 0 (no limit) to %d, not %d", mostCommands, c.MaxCommandRate)
	}
	if c.MinInterval < 0 || c.MinInterval != 0 && c.MinInterval < shortestEvery {
		fail("min_interval must be 0s or at least %v, not %v", shortestEvery, c.MinInterval)
	}
	if c.MaxInterval != 0 && c.MaxInterval < max(c.MinInterval, time.Second) {
		shorter := ""
		if c.MinInterval > time.Second {
			shorter = fmt.Sprintf(" and no shorter than min_interval (%v)", c.MinInterval)
		}
		fail("max_interval must be 0s, or at least 1s%s, not %v", shorter, c.MaxInterval)
	}
	if c.StaleAfter != 0 && c.StaleAfter < time.Second {
		fail("stale_after must be 0s or at least 1s, not %v", c.StaleAfter)
	}
	within := func(key string, err error) {
		if err == nil {
			return
		}
		for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
			fail("%s.%w", key, one)
		}
	}
	within("safe_without", c.SafeWithout.Validate())
	for _, name := range slices.Sorted(maps.Keys(c.Channels)) {
		within("channels."+name, c.Channels[name].Validate())
	}
	if t := c.Topic; t != "" && (len(t) > longestTopic || strings.ContainsAny(t, "+#\x00") || t[0] == '$' || t[0] == '/' || strings.HasSuffix(t, "/")) {
		fail("topic %q must be a topic without + and #, not start with $ or /, not end with /, and have at most %d bytes", t, longestTopic)
	}
	return errors.Join(errs...)
}

// meeting says how two topics are in each other's way.
func meeting(a, b, other string) string {
	if a == b {
		return fmt.Sprintf("topic %q is used by device %q already", a, other)
	}
	return fmt.Sprintf("topic %q lies together with %q of device %q: one begins with the other", a, b, other)
}

// reserved tells whether a name is a second level of the gateway's own topics.
func reserved(name string) bool {
	return name == "status" || name == "cloud" || name == "alarm"
}

func notInName(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-.", r)
}

// Base is the topic that all topics of the device begin with.
func (c DeviceConfig) Base(prefix string) string {
	if c.Topic != "" {
		return c.Topic
	}
	return prefix + "/" + c.Name
}

// fault makes an error at a key of the device, with its position when it came
// from a file.
func (c DeviceConfig) fault(key, format string, args ...any) error {
	sentence := fmt.Sprintf(format, args...)
	if c.Fault != nil {
		return c.Fault(key, sentence)
	}
	return fmt.Errorf("device %q: %s", c.Name, sentence)
}

// place gives an error about the options its position, or at least the device.
func (c DeviceConfig) place(err error) error {
	if c.Fault != nil {
		return err // the decoder has placed it
	}
	return fmt.Errorf("device %q: options: %w", c.Name, err)
}

// options is Options, or for a device without any a decoder that leaves the
// defaults as they are.
func (c DeviceConfig) options() func(dst any) error {
	if c.Options == nil {
		return func(any) error { return nil }
	}
	return c.Options
}

// Validate says what is wrong between the devices: names and topics that meet.
// It is no replacement for the Validate of each one.
func (c Config) Validate() error {
	var errs []error
	for i, d := range c.Devices {
		for _, other := range c.Devices[:i] {
			a, b := d.Base(c.Prefix), other.Base(c.Prefix)
			switch {
			case d.Name == "":
			case d.Name == other.Name:
				errs = append(errs, d.fault("name", "name %q is taken by another device", d.Name))
			case a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/"):
				// The channel of one would share its topics with the other.
				errs = append(errs, d.fault("topic", "%s", meeting(a, b, other.Name)))
			default:
				continue
			}
			break
		}
		if h, base := d.SafeWithout.Heartbeat, d.Base(c.Prefix); h == base || strings.HasPrefix(h, base+"/") {
			errs = append(errs, d.fault("safe_without.heartbeat", "safe_without.heartbeat %q is a topic of the device itself; somebody else must publish the heartbeat", h))
		}
		if own, ok := strings.CutPrefix(d.Topic, c.Prefix+"/"); ok && d.Topic != "" {
			if first, _, _ := strings.Cut(own, "/"); reserved(first) {
				errs = append(errs, d.fault("topic", "topic %q is reserved for the gateway's own topics, choose another one", d.Topic))
			}
		}
	}
	return errors.Join(errs...)
}
