package broker

import (
	"fmt"
	"testing"

	"edgegateway/broker/packet"
)

// Each step of a table is what comes in, and what the machine has to say.
type outStep struct {
	in   string // "publish1 seq", "publish2 seq", "resume seq", "puback id", "pubrec id", "pubrec! id" (an error), "marked seq", "pubcomp id", "admits seq", "room", "reset"
	n    uint64
	want string
}

func TestOutgoingHandshakes(t *testing.T) {
	for _, c := range []struct {
		name   string
		window int
		steps  []outStep
	}{
		{"QoS 1 ends with PUBACK", 3, []outStep{
			{"publish1", 1, "id 2"}, {"puback", 2, "done 1"}, {"puback", 2, "nothing"}, {"room", 0, "true"},
		}},
		{"QoS 2 waits for the mark before PUBREL", 3, []outStep{ // [MQTT-4.3.3-4]
			{"publish2", 1, "id 2"}, {"pubrec", 2, "mark 1"}, {"pubrec", 2, "nothing"}, {"pubcomp", 2, "mismatch"},
			{"marked", 1, "id 2"}, {"marked", 1, "no"}, {"pubrec", 2, "release"}, {"pubcomp", 2, "done 1"}, {"pubcomp", 2, "nothing"},
		}},
		{"an error in PUBREC frees the identifier", 1, []outStep{
			{"publish2", 1, "id 2"}, {"room", 0, "false"}, {"pubrec!", 2, "done 1"}, {"room", 0, "true"}, {"pubrec", 2, "unknown"},
		}},
		{"the acknowledgement has to fit the QoS", 3, []outStep{
			{"publish1", 1, "id 2"}, {"publish2", 2, "id 3"},
			{"pubrec", 2, "mismatch"}, {"pubcomp", 2, "mismatch"}, {"puback", 3, "mismatch"},
		}},
		{"the window counts to PUBACK and PUBCOMP", 2, []outStep{ // [MQTT-3.3.4-9]
			{"publish1", 1, "id 2"}, {"publish2", 2, "id 3"}, {"room", 0, "false"},
			{"pubrec", 3, "mark 2"}, {"room", 0, "false"}, {"marked", 2, "id 3"}, {"room", 0, "false"},
			{"pubcomp", 3, "done 2"}, {"room", 0, "true"}, {"puback", 2, "done 1"}, {"room", 0, "true"},
		}},
		{"what is resumed does not count against the window", 1, []outStep{
			{"resume", 1, "id 2"}, {"resume", 2, "id 3"}, {"room", 0, "true"}, {"publish1", 3, "id 4"}, {"room", 0, "false"},
			{"pubcomp", 2, "done 1"}, {"room", 0, "false"}, {"pubcomp", 3, "done 2"}, {"room", 0, "false"}, {"puback", 4, "done 3"}, {"room", 0, "true"},
		}},
		{"acknowledgements may come in any order", 3, []outStep{
			{"publish1", 1, "id 2"}, {"publish1", 2, "id 3"}, {"publish1", 3, "id 4"},
			{"puback", 4, "done 3"}, {"puback", 2, "done 1"}, {"puback", 3, "done 2"}, {"puback", 3, "nothing"},
		}},
		{"an identifier is not used twice", 3, []outStep{ // modulus 7, span below 7-3
			{"publish1", 1, "id 2"}, {"admits", 2, "true"}, {"admits", 4, "true"}, {"admits", 5, "false"}, {"admits", 8, "false"},
			{"publish1", 4, "id 5"}, {"admits", 5, "false"}, {"puback", 5, "done 4"}, {"admits", 5, "false"},
			{"puback", 2, "done 1"}, {"admits", 5, "true"}, {"publish1", 8, "id 2"}, {"admits", 5, "true"}, {"admits", 4, "false"},
		}},
		{"the end of the oldest makes room for identifiers", 3, []outStep{
			{"publish1", 1, "id 2"}, {"publish1", 2, "id 3"}, {"publish1", 3, "id 4"}, {"admits", 5, "false"},
			{"puback", 3, "done 2"}, {"admits", 5, "false"}, {"puback", 2, "done 1"}, {"admits", 5, "true"}, {"admits", 6, "true"}, {"admits", 7, "false"},
		}},
		{"a new connection knows nothing under way", 2, []outStep{
			{"publish2", 1, "id 2"}, {"pubrec", 2, "mark 1"}, {"reset", 0, ""}, {"marked", 1, "no"}, {"pubrec", 2, "unknown"}, {"room", 0, "true"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := outgoing{modulus: 7}
			o.reset(c.window)
			for i, s := range c.steps {
				if got := outDo(&o, s, c.window); got != s.want {
					t.Fatalf("step %d, %s %d: got %q, want %q", i, s.in, s.n, got, s.want)
				}
			}
		})
	}
}

func outDo(o *outgoing, s outStep, window int) string {
	names := []string{"nothing", "done", "mark", "release", "unknown", "mismatch"}
	say := func(seq uint64, do ackAction) string {
		if do == ackDone || do == ackMark {
			return fmt.Sprintf("%s %d", names[do], seq)
		}
		return names[do]
	}
	switch s.in {
	case "publish1":
		return fmt.Sprint("id ", o.publish(s.n, packet.QoS1))
	case "publish2":
		return fmt.Sprint("id ", o.publish(s.n, packet.QoS2))
	case "resume":
		return fmt.Sprint("id ", o.resume(s.n))
	case "puback":
		return say(o.puback(uint16(s.n)))
	case "pubrec":
		return say(o.pubrec(uint16(s.n), packet.Success))
	case "pubrec!":
		return say(o.pubrec(uint16(s.n), packet.QuotaExceeded))
	case "pubcomp":
		return say(o.pubcomp(uint16(s.n)))
	case "marked":
		if id, ok := o.marked(s.n); ok {
			return fmt.Sprint("id ", id)
		}
		return "no"
	case "admits":
		return fmt.Sprint(o.admits(s.n))
	case "room":
		return fmt.Sprint(o.room())
	case "reset":
		o.reset(window)
	}
	return ""
}

// However a receiver answers, two entries under way never share an identifier.
func TestIdentifiersUnderWayDiffer(t *testing.T) {
	o := outgoing{modulus: 7}
	o.reset(3)
	underWay := make(map[uint16]uint64)
	next := uint64(1)
	seed := uint32(1)
	for range 100000 {
		seed = seed*1664525 + 1013904223
		if seed>>16&1 == 0 && o.room() && o.admits(next) {
			id := o.publish(next, packet.QoS1)
			if old, used := underWay[id]; used {
				t.Fatalf("entries %d and %d are under way with identifier %d", old, next, id)
			}
			underWay[id] = next
			next++
			continue
		}
		for id, seq := range underWay { // map order is the receiver's whim
			if got, do := o.puback(id); do != ackDone || got != seq {
				t.Fatalf("PUBACK %d: got %d, %d; want entry %d done", id, got, do, seq)
			}
			delete(underWay, id)
			break
		}
	}
	if next < 10000 {
		t.Fatalf("only %d entries were sent", next)
	}
	if got := o.underWay(); got != len(underWay) {
		t.Errorf("%d handshakes under way, want %d", got, len(underWay))
	}
}
