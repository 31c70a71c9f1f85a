package broker

import (
	"fmt"
	"testing"
	"time"

	"edgegateway/broker/packet"
)

func TestResendsKeepTheSchedule(t *testing.T) {
	const s = 1000
	schedule := []time.Duration{10 * time.Second, 20 * time.Second, 60 * time.Second}
	type look struct {
		at   int64
		list string // what is sent again: P or R and the sequence number
		next int64  // 0: over
	}
	for _, c := range []struct {
		name  string
		do    func(r *resends)
		looks []look
	}{
		{"nothing is open", func(r *resends) {}, []look{{0, "", 10 * s}, {10 * s, "", 20 * s}}},
		{"each time, and then it is over", func(r *resends) { r.sent(7, []byte("x"), 0) }, []look{
			{9999, "", 10 * s}, {10 * s, "P7", 20 * s}, {20 * s, "", 30 * s}, {30 * s, "P7", 40 * s},
			{40 * s, "", 50 * s}, {50 * s, "", 60 * s}, {89999, "", 90 * s}, {90 * s, "P7", 100 * s}, {149999, "", 150 * s}, {150 * s, "", 0}}},
		{"a late look counts from when it was", func(r *resends) { r.sent(7, []byte("x"), 0) }, []look{
			{15 * s, "P7", 25 * s}, {34999, "", 35 * s}, {35 * s, "P7", 45 * s}}},
		{"in the order of sending", func(r *resends) {
			for _, seq := range []uint64{12, 3, 8} {
				r.sent(seq, []byte("x"), 0)
			}
			r.released(5, 1*s)
		}, []look{{10 * s, "P3P8P12", 11 * s}, {11 * s, "R5", 21 * s}}},
		{"what is acknowledged is not sent again", func(r *resends) {
			r.sent(1, []byte("x"), 0)
			r.sent(2, []byte("x"), 0)
			r.done(1)
		}, []look{{10 * s, "P2", 20 * s}}},
		{"PUBREL begins the schedule again", func(r *resends) {
			r.sent(1, []byte("x"), 0)
			r.due(10 * s)
			r.done(1)
			r.released(1, 15*s)
		}, []look{{24999, "", 25 * s}, {25 * s, "R1", 35 * s}, {45 * s, "R1", 55 * s}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newResends(schedule, packet.V311)
			c.do(r)
			for _, l := range c.looks {
				list, next, over := r.due(l.at)
				text := ""
				for _, p := range list {
					kind := "P"
					if p.data == nil {
						kind = "R"
					}
					text += fmt.Sprint(kind, p.seq)
				}
				if text != l.list || over != (l.next == 0) || next != l.next {
					t.Errorf("at %d: %q, next at %d, over %v; want %q, next at %d", l.at, text, next, over, l.list, l.next)
				}
			}
		})
	}
	for _, r := range []*resends{newResends(schedule, packet.V5), newResends(nil, packet.V311)} {
		if r != nil {
			t.Error("there is something to be sent again in MQTT 5, or without a schedule")
		}
		r.done(1)
	}
}
