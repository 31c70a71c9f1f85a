package main

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/packet"
)

const alarmTopic = "alarm/"

// alarm publishes what somebody must look at. It stays until it is cleared with an empty retained message.
func (g *gateway) alarm(what, sentence string, at time.Time) {
	text, err := json.Marshal(map[string]string{"alarm": sentence, "ts": at.UTC().Format("2006-01-02T15:04:05.000Z")})
	if err != nil {
		g.log.Error("alarm could not be written", "alarm", sentence, "err", err)
		return
	}
	g.say(alarmTopic+what, text)
}

// watchDamage raises the alarm of a damaged store, at every start until somebody has cleared it: the store
// remembers it, for the retained message may have been among what was lost.
func (g *gateway) watchDamage() error {
	d := g.store.Stats().Damage
	if d == nil {
		return nil
	}
	cleared := make(cleared, 1)
	watcher := g.broker.Local("alarms", broker.Rights{})
	err := watcher.Subscribe(g.cfg.Prefix+"/"+alarmTopic+"store", broker.SubscribeOptions{QoS: 1, RetainHandling: packet.NoRetained}, cleared)
	if err != nil {
		return err
	}
	g.layers.start("alarms", func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-cleared:
		}
		if err := g.store.ClearDamage(ctx); err != nil {
			g.log.Warn("the alarm of the damaged store comes back at the next start", "err", err)
		} else {
			g.log.Info("the alarm of the damaged store was cleared")
		}
		<-ctx.Done()
		return nil
	})
	sentence := d.String()
	g.alarm("store", strings.ToUpper(sentence[:1])+sentence[1:]+".", d.At)
	return nil
}

// cleared is told when an alarm is cleared.
type cleared chan struct{}

func (c cleared) Deliver(d *broker.Delivery) {
	if len(d.Message.Payload) > 0 {
		return
	}
	select {
	case c <- struct{}{}:
	default:
	}
}
