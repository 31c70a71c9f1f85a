// Package config reads the one file that a gateway is configured by.
//
// The file is TOML, and read strictly: a key that nobody knows, a value of the
// wrong type or out of range, a name taken twice are errors, all reported in one
// run, each with file, line and column. Each section is the Config type of the
// package of the same name and starts from its defaults; so a file says only
// what is different.
//
// Paths in the file are relative to the working directory of the process, not
// to the file; under systemd that is /, so write them in full there.
package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/bridge/field"
	"edgegateway/bridge/homeassistant"
	"edgegateway/broker"
	"edgegateway/buffer"
	"edgegateway/config/strict"
	"edgegateway/status"
)

// Version is the value of config_version that this program knows.
const Version = 1

// largest is the largest file that is read, in bytes.
const largest = 1 << 20

// Config is a whole configuration. It is plain data, to be passed by value and
// not changed.
type Config struct {
	ConfigVersion int                  `toml:"config_version"` // version of the file's format
	ID            string               `toml:"id"`             // names this gateway: [A-Za-z0-9_-]{1,64}; default: first label of the host name
	DataDir       string               `toml:"data_dir"`       // where the store lives; default: $STATE_DIRECTORY, else ./gateway-data
	Prefix        string               `toml:"prefix"`         // root of the gateway's own topics; default: id
	Log           Log                  `toml:"log"`
	Broker        broker.Config        `toml:"broker"`
	Buffer        buffer.Config        `toml:"buffer"`
	Cloud         []cloud.Config       `toml:"cloud"`
	Devices       []field.DeviceConfig `toml:"devices"`
	HomeAssistant homeassistant.Config `toml:"home_assistant"`
	Status        status.Config        `toml:"status"`

	doc  *strict.Document // where the values came from; nil without a file
	hash string           // of the text of the file
}

// Hash is the SHA-256 of the file in hex, as sha256sum prints it; "" without a file.
func (c Config) Hash() string { return c.hash }

// Log says what is logged, and how.
type Log struct {
	Level  string `toml:"level"`  // debug, info, warn or error
	Format string `toml:"format"` // text, or json
}

// Threshold is Level as slog knows it. A level that Validate refuses is info.
func (l Log) Threshold() slog.Level {
	var level slog.Level
	if l.Validate() != nil || level.UnmarshalText([]byte(l.Level)) != nil {
		return slog.LevelInfo
	}
	return level
}

// Load reads the file at path. Its errors are a strict.Errors, or say why the
// file can not be read; see Decode. getenv is os.Getenv; STATE_DIRECTORY is looked
// up.
func Load(path string, getenv func(string) string) (Config, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return Config{}, fmt.Errorf("read the configuration: %w: let this user read it, e.g. chgrp and chmod 0640", err)
	}
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, largest+1))
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	if len(text) > largest {
		return Config{}, fmt.Errorf("read the configuration %s: it is larger than %s, which no configuration is", path, strict.FormatSize(largest))
	}
	hostname, _ := os.Hostname() // without one there is a default
	return Decode(path, text, getenv, hostname)
}

// Decode reads the text of a file. Path is used in errors only. Beside errors it
// returns what could be read, for whoever looks for more of them; nothing after a
// syntax error.
func Decode(path string, text []byte, getenv func(string) string, hostname string) (Config, error) {
	c := base(getenv, hostname)
	c.doc = strict.Parse(path, text)
	c.hash = fmt.Sprintf("%x", sha256.Sum256(text))
	err := c.doc.Decode(&c, elements()...)
	if c.ConfigVersion > Version {
		// Whatever else is wrong may be right in that version.
		return Config{}, strict.Errors{c.doc.Errorf("config_version",
			"config_version %d is newer than this gateway, which knows %d: update the gateway", c.ConfigVersion, Version)}
	}
	if !c.doc.Has("prefix") {
		c.Prefix = c.prefixOf(c.ID)
	}
	if !c.doc.Broken() { // else what is missing may stand in the part that was not read
		err = strict.Merge(err, c.faults()...)
	}
	if c.doc.Broken() {
		return Config{}, err
	}
	return c, err
}

// Default is the configuration without a file: a broker and a status page for
// this machine alone, and the machine itself as a device.
func Default(getenv func(string) string, hostname string) Config {
	c := base(getenv, hostname)
	host := field.DefaultDeviceConfig()
	host.Name, host.Kind, host.Every = "host", "host", 10*time.Second
	c.Devices = []field.DeviceConfig{host}
	return c
}

// Fault makes an error that points at the value at path, written as in
// broker.listeners[0].password_file, for what is found out only after loading.
// Without a file it names the path.
func (c Config) Fault(path, format string, args ...any) error {
	if c.doc == nil {
		return fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...))
	}
	return c.doc.Errorf(path, format, args...)
}

// Field is what the devices need to know.
func (c Config) Field(version string) field.Config {
	return field.Config{
		Prefix: c.Prefix, Devices: c.Devices, ID: c.ID, Version: version,
		HomeAssistant: c.HomeAssistant, Site: c.site(),
	}
}

// site is where Home Assistant is.
func (c Config) site() homeassistant.Site {
	for _, one := range c.Cloud {
		if one.Name != c.HomeAssistant.Via || one.Name == homeassistant.Local {
			continue
		}
		return homeassistant.Site{
			Name:   one.Name,
			Up:     func(topic string) (string, bool) { return one.Above(c.Prefix, topic) },
			Origin: func(topic string) (string, bool) { return one.LeadsUp(c.Prefix, topic) },
			Keeps:  one.Retains,
			Down:   one.Below,
			Source: one.LeadsDown,
			Status: one.StatusAt(c.ID),
		}
	}
	return homeassistant.Site{}
}

// Keys lists every key that a file may have, with its default.
func Keys() []strict.Key {
	return strict.Keys(base(func(string) string { return "" }, "gateway"), elements()...)
}

// base is what every configuration starts from.
func base(getenv func(string) string, hostname string) Config {
	id := idOf(hostname)
	c := Config{
		ConfigVersion: Version,
		ID:            id,
		DataDir:       dataDir(getenv),
		Log:           Log{Level: "info", Format: "text"},
		Broker:        broker.DefaultConfig(),
		Buffer:        buffer.DefaultConfig(),
		HomeAssistant: homeassistant.DefaultConfig(),
		Status:        status.DefaultConfig(),
	}
	c.Prefix = c.prefixOf(id)
	return c
}

// prefixOf is the prefix of a gateway that is not given one: its id, also on a machine
// that is called homeassistant.
func (c Config) prefixOf(id string) string {
	if id == c.HomeAssistant.Prefix {
		return id + "-gateway"
	}
	return id
}

// elements are what the tables of a list start from, each by its type.
func elements() []any {
	return []any{cloud.DefaultConfig(), field.DefaultDeviceConfig()}
}
