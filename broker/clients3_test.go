package broker_test

import (
	"fmt"
	"testing"

	mqtt3 "github.com/eclipse/paho.mqtt.golang"

	"edgegateway/broker/brokertest"
)

func TestPahoForVersion3(t *testing.T) {
	for _, version := range []uint{3, 4} {
		t.Run(fmt.Sprint("level ", version), func(t *testing.T) {
			h := open(t, t.TempDir(), config())
			client := func(id string, clean bool) mqtt3.Client {
				o := mqtt3.NewClientOptions().AddBroker("tcp://" + h.addr).SetClientID(id).SetProtocolVersion(version).
					SetCleanSession(clean).SetAutoReconnect(false).SetOrderMatters(true)
				o.SetWill("will/"+id, "gone", 1, false)
				c := mqtt3.NewClient(o)
				done(t, c.Connect())
				return c
			}
			got := make(chan mqtt3.Message, 1000)
			sub := client("sub", false)
			done(t, sub.Subscribe("t/#", 2, func(_ mqtt3.Client, m mqtt3.Message) { got <- m }))
			pub := client("pub", true)
			const n = 100
			for qos := byte(0); qos <= 2; qos++ {
				for i := range n {
					done(t, pub.Publish(fmt.Sprint("t/", qos), qos, false, fmt.Sprint(i)))
				}
			}
			next := [3]int{}
			for range 3 * n {
				m := receive(t, got)
				if m.Topic() != fmt.Sprint("t/", m.Qos()) || string(m.Payload()) != fmt.Sprint(next[m.Qos()]) {
					t.Fatalf("got %s at QoS %d on %s, want %d", m.Payload(), m.Qos(), m.Topic(), next[m.Qos()])
				}
				next[m.Qos()]++
			}
			sub.Disconnect(100)
			done(t, pub.Publish("t/offline", 1, true, "waits"))
			o := mqtt3.NewClientOptions().AddBroker("tcp://" + h.addr).SetClientID("sub").SetProtocolVersion(version).
				SetCleanSession(false).SetDefaultPublishHandler(func(_ mqtt3.Client, m mqtt3.Message) { got <- m })
			sub = mqtt3.NewClient(o)
			done(t, sub.Connect())
			m := receive(t, got)
			for m.Duplicate() && string(m.Payload()) != "waits" { // this client leaves before its last acknowledgements
				m = receive(t, got)
			}
			if string(m.Payload()) != "waits" || m.Retained() {
				t.Errorf("got %s, retained %v", m.Payload(), m.Retained())
			}
			done(t, sub.Unsubscribe("t/#"))
			sub.Disconnect(100)
			pub.Disconnect(100)
		})
	}
}

func done(t *testing.T, token mqtt3.Token) {
	t.Helper()
	if !token.WaitTimeout(brokertest.Patience) {
		t.Fatal("no answer")
	}
	if err := token.Error(); err != nil {
		t.Fatal(err)
	}
}
