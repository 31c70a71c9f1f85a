package field_test

import (
	"fmt"
	"strings"
	"testing"

	"edgegateway/broker"
)

func TestCommandsThatWaitAtTheEndAreAnswered(t *testing.T) {
	r, f := startActuator(t, level)
	for i := range 3 {
		if err := r.command(broker.Message{Topic: "p/x/set", Payload: fmt.Append(nil, i), QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "Actuate", f.acts)
	r.stop()
	for range 3 {
		if got := string(r.next("p/x/result").Payload); !strings.HasPrefix(got, `{"ok":false,"channel":"level","error":"`) {
			t.Errorf("got %s", got)
		}
	}
	if err := r.command(broker.Message{Topic: "p/x/set", Payload: []byte("1"), QoS: 1}); err == nil {
		t.Error("a command was accepted after the end")
	}
	if s := r.bridge.Devices()[0]; s.Waiting != 0 || s.Accepted != 3 || s.Refused != 1 {
		t.Errorf("got %+v", s)
	}
}
