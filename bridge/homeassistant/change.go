package homeassistant

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
)

// A known is a component of a payload that was told.
type known struct {
	Platform string `json:"platform"`
	UniqueID string `json:"unique_id"`
	text     json.RawMessage
}

// leaves tells whether the component is there to be taken away.
func (k known) leaves() bool { return k.UniqueID == "" }

// Farewell is next together with what earlier has beside it. Home Assistant takes an
// entity away only when its component comes with nothing but its platform: to leave it
// out says nothing. It is retained like that, for a Home Assistant that is not there now;
// forget leaves out what earlier tells in this way, and so does a limit: a gateway that is
// started again and again may wait for Home Assistant for ever. leaves tells whether there
// is any.
func Farewell(earlier, next []byte, forget bool) (payload []byte, leaves bool) {
	var message, components map[string]json.RawMessage
	if json.Unmarshal(next, &message) != nil || json.Unmarshal(message["components"], &components) != nil {
		return next, false
	}
	all := componentsOf(earlier)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		was := all[key]
		if _, stays := components[key]; stays || was.leaves() && forget || len(components) >= 2*mostComponents {
			continue
		}
		text, err := json.Marshal(map[string]string{"platform": was.Platform})
		if err != nil {
			continue
		}
		components[key], leaves = text, true
	}
	if !leaves {
		return next, false
	}
	var err error
	if message["components"], err = json.Marshal(components); err != nil {
		return next, false
	}
	if payload, err = json.Marshal(message); err != nil {
		return next, false
	}
	return payload, true
}

// keyOf is the key of a component in its message, none of those taken. Home Assistant
// knows an entity by platform and key, so that the key stays what it was. When the
// platform is another one, the key is too: under the first one the earlier entity goes.
func keyOf(earlier map[string]known, taken map[string]any, channel string, c component) string {
	for key, was := range earlier {
		if was.UniqueID == c.UniqueID && was.Platform == c.Platform {
			return key
		}
	}
	key := channel
	if strings.Contains(key, " ") {
		// Home Assistant would not find the component when the device is taken away: it
		// takes it for one of another device (discovery.py, _generate_device_config).
		sum := fnv.New32a()
		sum.Write([]byte(channel))
		key = fmt.Sprintf("%s_%08x", strings.ReplaceAll(key, " ", "_"), sum.Sum32())
	}
	for {
		was, told := earlier[key]
		if _, used := taken[key]; !used && (!told || was.leaves() && was.Platform == c.Platform) {
			return key
		}
		key += "." + c.Platform
	}
}

// componentsOf is what a payload has of them, nothing if it cannot be read.
func componentsOf(payload []byte) map[string]known {
	var m struct {
		Components map[string]json.RawMessage `json:"components"`
	}
	if json.Unmarshal(payload, &m) != nil {
		return nil
	}
	all := make(map[string]known, len(m.Components))
	for key, text := range m.Components {
		one := known{text: text}
		if json.Unmarshal(text, &one) == nil && one.Platform != "" {
			all[key] = one
		}
	}
	return all
}

// modelOf is the model that a payload gives its device: the kind.
func modelOf(payload []byte) string {
	var m struct {
		Device struct {
			Model string `json:"model"`
		} `json:"device"`
	}
	_ = json.Unmarshal(payload, &m) // one that can not be read has none
	return m.Device.Model
}
