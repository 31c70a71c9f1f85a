package field_test

import (
	"fmt"
	"testing"

	"edgegateway/broker"
)

func TestCommandsThatWaitAtTheEndAreAnsweredAndNotCarriedOut(t *testing.T) {
	r, f := startActuator(t, level)
	for i := range 3 {
		if err := r.command(broker.Message{Topic: "p/x/set", Payload: fmt.Append(nil, i), QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "Actuate", f.acts)
	r.stop()
	r.expect("p/x/result", `{"ok":false,"channel":"level","error":"unknown: the gateway stopped before the device had answered","ts":"TIME"}`)
	for range 2 {
		r.expect("p/x/result", `{"ok":false,"channel":"level","error":"the gateway is stopping","ts":"TIME"}`)
	}
	if len(f.acts) != 0 {
		t.Errorf("carried out after the end: %v", <-f.acts)
	}
	if err := r.command(broker.Message{Topic: "p/x/set", Payload: []byte("1"), QoS: 1}); err == nil {
		t.Error("a command was accepted after the end")
	}
	if s := r.bridge.Devices()[0]; s.Waiting != 0 || s.Accepted != 3 || s.Refused != 1 {
		t.Errorf("got %+v", s)
	}
}
