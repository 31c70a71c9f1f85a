package cloud

import (
	"encoding/json"
	"fmt"
	"time"
)

// alarmTopic is where people hear of messages that the server will never take.
func (b *Bridge) alarmTopic() string { return b.env.Prefix + "/alarm/rejected-" + b.cfg.Name }

// alarm raises it, retained, when there are more of them than it has told of. It stays
// until somebody clears it with an empty retained message.
func (b *Bridge) alarm(rejected int64) {
	if rejected <= b.alarmed {
		return
	}
	b.alarmed = rejected
	b.mu.Lock()
	why := b.setAside
	b.mu.Unlock()
	text, _ := json.Marshal(map[string]string{ // of strings: can not fail
		"alarm": fmt.Sprintf("Cloud %s will never take %d of the messages for it, the last one because %s. They are set aside: see them with \"gateway queue export -rejected %s\", and when the reason is gone send them again with \"gateway queue requeue %s\".",
			b.cfg.Name, rejected, why, b.cfg.Name, b.cfg.Name),
		"ts": stamp(time.Now()),
	})
	b.publishState(b.alarmTopic(), string(text))
}
