package field

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/drivers"
)

// The broker holds its lock while it delivers a command: nothing may be published there.
func TestACommandThatComesInTheMomentOfTheStopIsRefused(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	br := openBroker(t, log)
	b := &Bridge{cfg: Config{Prefix: "p"}, local: br.Local(localName, broker.Rights{}), log: log, refused: make(chan outcome, 1)}
	b.notes = b.local.Notes()
	for qos := range byte(3) {
		d := newDevice(b, DeviceConfig{Name: "x"}, drivers.Kind{}, drivers.Ports{})
		d.online, d.check = true, func(c drivers.Command) (drivers.Command, error) {
			d.stopped = true // its place is not taken yet
			return c, nil
		}
		if err := b.local.Subscribe("p/x/set", broker.SubscribeOptions{QoS: 2}, d); err != nil {
			t.Fatal(err)
		}
		published := make(chan *broker.Receipt, 1)
		go func() {
			published <- br.Local("test", broker.Rights{}).Publish(broker.Message{Topic: "p/x/set", Payload: []byte("on"), QoS: qos})
		}()
		select {
		case receipt := <-published:
			if err := receipt.Wait(context.Background()); (err == nil) != (qos == 2) {
				t.Errorf("QoS %d: got %v", qos, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("QoS %d: it is not delivered", qos)
		}
		if d.waiting != 0 || len(d.jobs) != 0 || len(b.refused) != 1 && qos < 2 {
			t.Errorf("QoS %d: %d wait, %d are before the device", qos, d.waiting, len(d.jobs))
		}
		for len(b.refused) > 0 {
			<-b.refused
		}
	}
}
