package main

import (
	"fmt"
	"strings"
	"time"
)

// tellOrphans says which queues belong to clouds that are not configured: what waits there goes nowhere.
func (g *gateway) tellOrphans(queues []string) {
	if len(queues) == 0 {
		if len(g.broker.Retained(g.cfg.Prefix+"/alarm/orphan-queue", 1)) > 0 {
			g.say("alarm/orphan-queue", nil) // its cloud is back, or its messages are gone
		}
		return
	}
	names := strings.Join(queues, ", ")
	g.log.Warn("messages wait for clouds that are not configured", "queues", names,
		"look", "gateway queue ls", "move", "gateway queue mv "+queues[0]+" CLOUD", "drop", "gateway queue purge "+queues[0])
	g.alarm("orphan-queue", fmt.Sprintf("Messages wait for clouds that are not configured: %s. Configure the cloud again under its name, or move them to another one with \"gateway queue mv %s CLOUD\", or drop them with \"gateway queue purge %s\".", names, queues[0], queues[0]), time.Now())
}
