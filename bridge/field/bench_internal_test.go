package field

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/drivers"
)

// BenchmarkReading is a reading of eight channels on its way from the driver
// through the broker to one subscriber. Twenty devices at 1 Hz make twenty of them
// in a second.
func BenchmarkReading(b *testing.B) {
	log := slog.New(slog.DiscardHandler)
	br := openBroker(b, log)
	bridge := &Bridge{cfg: Config{Prefix: "p"}, local: br.Local(localName, broker.Rights{}), log: log}
	d := newDevice(bridge, DeviceConfig{Name: "x", QoS: 1}, drivers.Kind{}, drivers.Ports{})
	var got counter
	if err := br.Local("test", broker.Rights{}).Subscribe("p/x/state", broker.SubscribeOptions{QoS: 1}, &got); err != nil {
		b.Fatal(err)
	}
	r := drivers.Reading{At: time.Now()}
	for i := range 8 {
		r.Values = append(r.Values, drivers.Value{Channel: fmt.Sprintf("channel_%d", i), V: 0.0})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Values[i%8].V = float64(i) / 10
		d.Reading(r)
	}
	if int(got) != b.N {
		b.Errorf("%d of %d arrived", got, b.N)
	}
}

type counter int

func (c *counter) Deliver(*broker.Delivery) { *c++ }
