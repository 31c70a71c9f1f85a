package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"edgegateway/bridge/cloud"
	"edgegateway/bridge/homeassistant"
	"edgegateway/config/strict"
)

const longestPrefix = 256 // bytes; a topic has at most 65535

// Validate says what is wrong with the gateway's own keys, those above the
// first section.
func (c Config) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.ConfigVersion != Version {
		fail("config_version must be %d, not %d", Version, c.ConfigVersion)
	}
	if len(c.ID) == 0 || len(c.ID) > longestID || strings.ContainsFunc(c.ID, func(r rune) bool { return !inID(r) }) {
		fail("id must be 1 to %d of the characters A-Z a-z 0-9 _ -, not %q", longestID, c.ID)
	}
	if c.DataDir == "" {
		fail("data_dir must name a directory, such as \"/var/lib/gateway\"")
	}
	if p := c.Prefix; p == "" || len(p) > longestPrefix || strings.ContainsAny(p, "+#\x00") || p[0] == '$' || p[0] == '/' || strings.HasSuffix(p, "/") {
		fail("prefix must be a topic without + and #, not start with $ or /, not end with /, and have 1 to %d bytes, not %q", longestPrefix, p)
	}
	return errors.Join(errs...)
}

// Validate reports the values that are none of the known words.
func (l Log) Validate() error {
	var errs []error
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, l.Level) {
		errs = append(errs, fmt.Errorf("level must be debug, info, warn or error, not %q", l.Level))
	}
	if !slices.Contains([]string{"text", "json"}, l.Format) {
		errs = append(errs, fmt.Errorf("format must be text or json, not %q", l.Format))
	}
	return errors.Join(errs...)
}

// faults asks every part what is wrong with it and gives the answers their
// positions in the file.
func (c Config) faults() []strict.Errors {
	type section struct {
		path string
		part interface{ Validate() error }
	}
	sections := []section{{"", c}, {"log", c.Log}, {"broker", c.Broker}, {"buffer", c.Buffer}, {"status", c.Status}}
	for i, one := range c.Cloud {
		sections = append(sections, section{fmt.Sprintf("cloud[%d]", i), one})
	}
	for i, one := range c.Devices {
		sections = append(sections, section{fmt.Sprintf("devices[%d]", i), one})
	}
	sections = append(sections, section{"devices", c.Field("")}, section{"home_assistant", c.HomeAssistant})

	var all []strict.Errors
	for _, s := range sections {
		all = append(all, c.doc.Locate(s.path, s.part.Validate()))
	}
	return append(all, c.sameClouds(), c.lostClouds(), c.unreached(), c.mistaken(), c.loops())
}

// lostClouds finds devices that must not be without a cloud that there is not.
func (c Config) lostClouds() (errs strict.Errors) {
	for i, d := range c.Devices {
		name := d.SafeWithout.Cloud
		if name != "" && !slices.ContainsFunc(c.Cloud, func(one cloud.Config) bool { return one.Name == name }) {
			errs = append(errs, c.doc.Errorf(fmt.Sprintf("devices[%d].safe_without.cloud", i), "devices.safe_without.cloud %q is not the name of a [[cloud]]", name))
		}
	}
	return errs
}

// mistaken finds a gateway whose status would be taken for that of Home Assistant.
func (c Config) mistaken() (errs strict.Errors) {
	if c.HomeAssistant.Discovery && c.Prefix == c.HomeAssistant.Prefix {
		errs = append(errs, c.doc.Errorf("prefix", "prefix %q is that of Home Assistant, which says on %s that it has started; choose another one", c.Prefix, c.HomeAssistant.Birth()))
	}
	return errs
}

// unreached finds what is missing on the way to a Home Assistant at a cloud.
func (c Config) unreached() (errs strict.Errors) {
	h := c.HomeAssistant
	if h.Via == "" || h.Via == homeassistant.Local || !h.Discovery || h.Validate() != nil {
		return nil
	}
	site := c.site()
	if site.Name == "" {
		return append(errs, c.doc.Errorf("home_assistant.via", "home_assistant.via %q is neither %q nor the name of a cloud", h.Via, homeassistant.Local))
	}
	for _, d := range c.Devices {
		if err := site.Check(h, d.Base(c.Prefix)); err != nil {
			return append(errs, c.doc.Errorf("home_assistant.via", "home_assistant.%v", err))
		}
	}
	return nil
}

// sameClouds finds clouds of one name: they would share a queue.
func (c Config) sameClouds() (errs strict.Errors) {
	taken := map[string]bool{}
	for i, one := range c.Cloud {
		if one.Name != "" && taken[one.Name] {
			errs = append(errs, c.doc.Errorf(fmt.Sprintf("cloud[%d].name", i), "cloud.name %q is taken by another cloud", one.Name))
		}
		taken[one.Name] = true
	}
	return errs
}
