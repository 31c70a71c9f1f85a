package cloud

import (
	"encoding/json"
	"fmt"
	"strings"

	"edgegateway/broker/packet"
)

// birthOff is the word for no birth message.
const birthOff = "off"

// birth is what a gateway says of itself when it connects.
type birth struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	Started string `json:"started"`          // RFC 3339
	Config  string `json:"config,omitempty"` // SHA-256 of the configuration file in hex; absent: there is none
}

// birthTopic is where the birth message goes, "" for nowhere: beside the status, if the
// configuration does not say.
func (c Config) birthTopic(status string) string {
	switch c.BirthTopic {
	case birthOff:
		return ""
	case "":
		return status[:strings.LastIndexByte(status, '/')+1] + "birth"
	}
	return c.BirthTopic
}

// announce sends the birth message, around the queue as the status.
func (l *link) announce() {
	b := l.b
	topic := b.cfg.birthTopic(b.statusTopic)
	if topic == "" {
		return
	}
	text, _ := json.Marshal(birth{b.env.ID, b.env.Version, stamp(b.env.Started), b.env.ConfigHash}) // of strings: can not fail
	l.say(birthID, topic, string(text), func(code packet.ReasonCode) {
		if code.IsError() {
			b.note(fmt.Errorf("the server refuses the birth message at %q: %v (birth_topic = %q leaves it out)", topic, code, birthOff))
		}
	})
}
