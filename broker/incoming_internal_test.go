package broker

import (
	"bytes"
	"errors"
	"testing"

	"edgegateway/broker/packet"
)

func TestQoS2MessagesAreRoutedOnce(t *testing.T) {
	var in incoming
	answers := 0
	wait := func(err error) {
		if err == nil {
			answers++
		}
	}
	if got := in.publish(1, wait); got != arriveRoute {
		t.Fatalf("a new identifier: got %d, want route", got)
	}
	if got := in.publish(1, wait); got != arriveJoin {
		t.Fatalf("again before the commit: got %d, want join", got)
	}
	for _, fn := range in.settle(1, in.arrival(1), nil) {
		fn(nil)
	}
	if answers != 2 {
		t.Fatalf("%d answers after the commit, want 2: one for each PUBLISH", answers)
	}
	if got := in.publish(1, wait); got != arriveAgain {
		t.Fatalf("again after the commit: got %d, want again", got)
	}
	if !in.release(1) || in.release(1) {
		t.Fatal("PUBREL has to find the identifier once")
	}
	if got := in.publish(1, wait); got != arriveRoute {
		t.Fatalf("after PUBREL: got %d, want route", got)
	}
}

func TestRefusedQoS2MessageFreesItsIdentifier(t *testing.T) {
	var in incoming
	in.publish(1, func(error) {})
	refused := in.arrival(1)
	in.release(1)                 // the client gave up,
	in.publish(1, func(error) {}) // and uses the identifier again
	in.settle(1, refused, errors.New("full"))
	if in.arrival(1) == nil {
		t.Error("the failure of the old message took the identifier of the new one")
	}
	in.settle(1, in.arrival(1), errors.New("full"))
	if in.arrival(1) != nil {
		t.Error("a refused message kept its identifier")
	}
}

func TestAcknowledgementsLeaveInOrderOfArrival(t *testing.T) {
	var o ackOrder
	ack := func(kind packet.Type, id uint16) packet.Ack { return packet.Ack{Kind: kind, ID: id} }
	a := o.expect(ack(packet.PUBACK, 1), false)
	b := o.expect(ack(packet.PUBACK, 2), false)
	if o.expect(ack(packet.PUBREC, 9), true) != nil {
		t.Error("PUBREC waits for a PUBACK: each kind has its own order")
	}
	c := o.expect(ack(packet.PUBACK, 3), true)
	if c == nil {
		t.Fatal("PUBACK 3 overtakes 1 and 2")
	}
	out, n := o.complete(b, nil, packet.V311)
	if n != 0 || len(out) != 0 {
		t.Fatalf("PUBACK 2 left before 1: % x", out)
	}
	out, n = o.complete(a, nil, packet.V311)
	if want := []byte{0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3}; n != 3 || !bytes.Equal(out, want) {
		t.Fatalf("got % x, want % x", out, want)
	}
	if o.expect(ack(packet.PUBACK, 4), true) != nil {
		t.Error("PUBACK 4 waits for nothing")
	}
}
