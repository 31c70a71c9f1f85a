package homeassistant

import (
	"errors"
	"fmt"
	"strings"
)

// Local is the Via of a Home Assistant that uses the gateway's own broker.
const Local = "local"

// Config is the section [home_assistant].
type Config struct {
	// Discovery tells Home Assistant of every device. When it is turned off, what was
	// told is taken back, at the latest five minutes after the start.
	Discovery bool `toml:"discovery"`

	// Prefix is the discovery prefix that Home Assistant is set to.
	Prefix string `toml:"prefix"`

	// Via says which broker Home Assistant uses: "local" is the gateway's own;
	// the name of a cloud is the server of that one. Then discovery carries the topics
	// as they are there, and the cloud needs routes: up for the discovery prefix,
	// state and availability, down for commands.
	Via string `toml:"via"`
}

// DefaultConfig announces to a Home Assistant with its own defaults.
func DefaultConfig() Config {
	return Config{Discovery: true, Prefix: "homeassistant", Via: Local}
}

// longestPrefix is in bytes.
const longestPrefix = 256

// Validate says what is wrong, in sentences that begin with the key.
func (c Config) Validate() error {
	var errs []error
	if p := c.Prefix; p == "" || len(p) > longestPrefix || strings.ContainsAny(p, "+#\x00") || p[0] == '$' || p[0] == '/' || strings.HasSuffix(p, "/") {
		errs = append(errs, fmt.Errorf("prefix must be a topic without + and #, not start with $ or /, not end with /, and have 1 to %d bytes, not %q", longestPrefix, p))
	}
	if c.Via == "" {
		errs = append(errs, fmt.Errorf("via must be %q or the name of a cloud", Local))
	}
	return errors.Join(errs...)
}

// Birth is the topic on which Home Assistant says online when it has started.
func (c Config) Birth() string { return c.Prefix + "/status" }
