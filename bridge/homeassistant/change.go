package homeassistant

import "encoding/json"

// Interim is what has to be published between two payloads for a device: Home
// Assistant takes an entity away only when its component comes with nothing but its
// platform. Nil if nothing goes away.
func Interim(old, next []byte) []byte {
	var message map[string]json.RawMessage
	if json.Unmarshal(next, &message) != nil {
		return nil
	}
	components := componentsOf(next)
	gone := false
	for name, one := range componentsOf(old) {
		was := platformOf(one)
		if was == "" || was == platformOf(components[name]) {
			continue
		}
		text, err := json.Marshal(map[string]string{"platform": was})
		if err != nil {
			continue
		}
		components[name], gone = text, true
	}
	if !gone {
		return nil
	}
	var err error
	if message["components"], err = json.Marshal(components); err != nil {
		return nil
	}
	text, err := json.Marshal(message)
	if err != nil {
		return nil
	}
	return text
}

// componentsOf is what a payload has of them, nothing if it cannot be read.
func componentsOf(payload []byte) map[string]json.RawMessage {
	var m struct {
		Components map[string]json.RawMessage `json:"components"`
	}
	if json.Unmarshal(payload, &m) != nil {
		return nil
	}
	return m.Components
}

func platformOf(one json.RawMessage) string {
	var c struct {
		Platform string `json:"platform"`
	}
	if json.Unmarshal(one, &c) != nil {
		return ""
	}
	return c.Platform
}
