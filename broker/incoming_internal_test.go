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
	wait := func(error) { answers++ }
	a, isNew := in.publish(1)
	if !isNew || a.settled {
		t.Fatalf("a new identifier: new %v, settled %v", isNew, a.settled)
	}
	a.wait = append(a.wait, wait)
	again, isNew := in.publish(1)
	if isNew || again != a || again.settled {
		t.Fatal("again before the commit: it has to join the first")
	}
	again.wait = append(again.wait, wait)
	for _, fn := range in.settle(1, a, nil) {
		fn(nil)
	}
	if answers != 2 {
		t.Fatalf("%d answers after the commit, want 2: one for each PUBLISH", answers)
	}
	if a, isNew = in.publish(1); isNew || !a.settled || a.err != nil {
		t.Fatal("again after the commit: it has to be known as safe")
	}
	if !in.release(1) || in.release(1) {
		t.Fatal("PUBREL has to find the identifier once")
	}
	if _, isNew = in.publish(1); !isNew {
		t.Fatal("after PUBREL the identifier stands for a new message")
	}
}

func TestRefusedQoS2MessageFreesItsIdentifier(t *testing.T) {
	var in incoming
	refused, _ := in.publish(1)
	in.release(1)         // the client gave up,
	a, _ := in.publish(1) // and uses the identifier again
	in.settle(1, refused, errors.New("full"))
	if again, isNew := in.publish(1); isNew || again != a {
		t.Error("the failure of the old message took the identifier of the new one")
	}
	in.settle(1, a, errors.New("full"))
	if _, isNew := in.publish(1); !isNew {
		t.Error("a refused message kept its identifier")
	}
}

func TestAcknowledgementsLeaveInOrderOfArrival(t *testing.T) {
	var o ackOrder
	ack := func(kind packet.Type, id uint16) answer { return answer{kind: kind, id: id} }
	a := o.expect(ack(packet.PUBACK, 1), false)
	b := o.expect(ack(packet.PUBACK, 2), false)
	if o.expect(ack(packet.PUBREC, 9), true) != nil {
		t.Error("PUBREC waits for a PUBACK: each kind has its own order")
	}
	c := o.expect(ack(packet.PUBACK, 3), true)
	if c == nil {
		t.Fatal("PUBACK 3 overtakes 1 and 2")
	}
	var out []byte
	leave := func(a *answer) { out = a.append(out, packet.V311) }
	o.complete(b, leave)
	if len(out) != 0 {
		t.Fatalf("PUBACK 2 left before 1: % x", out)
	}
	o.complete(a, leave)
	if want := []byte{0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3}; !bytes.Equal(out, want) {
		t.Fatalf("got % x, want % x", out, want)
	}
	if o.expect(ack(packet.PUBACK, 4), true) != nil {
		t.Error("PUBACK 4 waits for nothing")
	}
}

func TestOnlyTheNewestConnectionWaitsForAnIdentifierToLeave(t *testing.T) {
	var in incoming
	l := in.leave(7)
	called := 0
	var newest *conn
	for range 1000 {
		newest = &conn{}
		in.await(7, newest, func(error) { called += 1000 })
	}
	in.await(7, newest, func(error) { called++ }) // the same client may ask twice
	if !in.leaves(7) || in.leaves(8) {
		t.Error("7 leaves, and nothing else")
	}
	for _, w := range in.left(7, l) {
		w.fn(nil)
	}
	if called != 1001 || in.leaves(7) {
		t.Errorf("called: %d, still leaving: %v", called, in.leaves(7))
	}
}
