package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"edgegateway/broker"
	"edgegateway/status"
)

// alarmInfo is one alarm in the answer to GET /v1/alarms.
type alarmInfo struct {
	status.Alarm
	Cause string `json:"cause,omitempty"` // why it can not be cleared: it is there, and the alarm goes with it
}

// mostRaised bounds what a report is given: any client that may publish there can raise alarms.
const mostRaised = 100

// alarms are those that are raised, each with its cause.
func (g *gateway) alarms() []alarmInfo {
	list := []alarmInfo{}
	for _, a := range g.raised(0) {
		list = append(list, alarmInfo{Alarm: a, Cause: g.cause(a.Name)})
	}
	return list
}

// raised are the retained messages below <prefix>/alarm, in the order of their names, at most so many; 0 = all.
func (g *gateway) raised(most int) (list []status.Alarm) {
	root := g.cfg.Prefix + "/" + alarmTopic
	for _, m := range g.broker.Retained(root+"#", most) {
		name, below := strings.CutPrefix(m.Topic, root)
		if !below {
			continue // "#" takes its parent as well (4.7.1.2)
		}
		a := status.Alarm{Name: name}
		var said struct {
			Alarm string    `json:"alarm"`
			TS    time.Time `json:"ts"`
		}
		if json.Unmarshal(m.Payload, &said) == nil && said.Alarm != "" {
			if a.Text = said.Alarm; !said.TS.IsZero() {
				a.Since = &said.TS
			}
		} else { // somebody else's
			a.Text = strings.ToValidUTF8(string(m.Payload), "?")
		}
		list = append(list, a)
	}
	return list
}

// cause says what must end before an alarm that goes by itself can go; "" if nothing
// must, or the alarm is not of that sort.
func (g *gateway) cause(name string) string {
	switch name {
	case "disk":
		_, sentence := diskTrouble(g.store)
		return sentence
	case "clock":
		if g.synced != nil && !g.synced() {
			return clockSentence
		}
	case "orphan-queue":
		if queues := g.orphans(); len(queues) > 0 {
			return orphanSentence(queues)
		}
	}
	return ""
}

func (g *gateway) listAlarms(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(g.alarms()) // the far side may be gone; nothing to do about it
}

// clearAlarm takes an alarm away, and answers when it is off the disk.
func (g *gateway) clearAlarm(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("name")
	var found *alarmInfo
	for _, a := range g.alarms() {
		if a.Name == name {
			found = &a
		}
	}
	switch {
	case found == nil:
		refuse(w, http.StatusNotFound, fmt.Errorf("there is no alarm %q: \"gateway alarm ls\" shows those that there are", name))
		return
	case found.Cause != "":
		refuse(w, http.StatusConflict, fmt.Errorf("alarm %q goes by itself when its cause does, which is there still. %s", name, found.Cause))
		return
	}
	takeTime(w)
	ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second) // for the disk
	defer cancel()
	if name == "store" {
		if err := g.store.ClearDamage(ctx); err != nil {
			refuse(w, http.StatusInternalServerError, fmt.Errorf("have the store forget its damage: %w: clear the alarm again when the disk takes what is to be kept", err))
			return
		}
	}
	m := broker.Message{Topic: g.cfg.Prefix + "/" + alarmTopic + name, QoS: 1, Retain: true}
	if err := g.own.Publish(m).Wait(ctx); err != nil {
		refuse(w, http.StatusInternalServerError, fmt.Errorf("alarm %q may come back at the next start: %w: clear it again when the disk takes what is to be kept", name, err))
		return
	}
	g.log.Info("an alarm was cleared", "alarm", name)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(found) // the far side may be gone
}
