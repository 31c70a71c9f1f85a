package main

import (
	"context"
	"time"
)

// A board without a battery clock starts in the past, and the readings of its first
// seconds or, without a network, of its first days have a wrong time.
const (
	clockUnset = time.Second // how often an unset clock is looked at
	clockSet   = time.Minute // how often one that is set
)

const clockSentence = "The clock is not synchronised: times of readings may be wrong, and say so. It corrects itself once a time server is reached (look at \"timedatectl\")."

// watchClock tells the devices, and everyone by the retained alarm/clock, whether the
// wall clock is set.
func (g *gateway) watchClock(ctx context.Context) error {
	alarmed := len(g.broker.Retained(g.cfg.Prefix+"/"+alarmTopic+"clock", 1)) > 0
	for {
		synced := g.synced()
		g.field.SetClock(synced)
		if !synced && !alarmed {
			g.log.Warn("the clock is not synchronised; readings say so until it is")
			g.alarm("clock", clockSentence, time.Now())
		} else if synced && alarmed {
			g.log.Info("the clock is synchronised")
			g.say(alarmTopic+"clock", nil)
		}
		alarmed = !synced
		every := clockUnset
		if synced {
			every = clockSet
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}
