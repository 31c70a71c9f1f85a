package main

import (
	"fmt"
	"strings"
	"time"
)

// tellOrphans says which queues belong to clouds that are not configured, or to clients whose session was lost
// with a damaged store: what waits there goes nowhere.
func (g *gateway) tellOrphans(queues []string) {
	if len(queues) == 0 {
		if len(g.broker.Retained(g.cfg.Prefix+"/alarm/orphan-queue", 1)) > 0 {
			g.say("alarm/orphan-queue", nil) // their clouds are back, or their messages are gone
		}
		return
	}
	names := strings.Join(queues, ", ")
	g.log.Warn("messages wait that nobody fetches", "queues", names,
		"look", "gateway queue ls", "move", "gateway queue mv "+queues[0]+" CLOUD", "drop", "gateway queue purge "+queues[0])
	g.alarm("orphan-queue", orphanSentence(queues), time.Now())
}

func orphanSentence(queues []string) string {
	return fmt.Sprintf("Messages wait that nobody fetches: %s. The queue of a cloud is one that is not configured: configure it again under its name. Of a client, the session was lost when the store was damaged. Save them with \"gateway queue export %s\", or move them to a cloud with \"gateway queue mv %s CLOUD\", or drop them with \"gateway queue purge %s\".", strings.Join(queues, ", "), queues[0], queues[0], queues[0])
}
