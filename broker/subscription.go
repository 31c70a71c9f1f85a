package broker

import (
	"encoding/binary"
	"slices"
	"sync/atomic"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// subscription is one filter of one subscriber: a session, or a sink of a Local.
// The filter and the subscriber never change; the options do, when the filter is
// subscribed again.
type subscription struct {
	filter  string
	session *Session // nil for a sink, and for what stands for a share in the tree
	share   *share   // of a member, and of what stands for the share; nil: not shared
	sink    Sink
	local   *Local // of the sink, or nil
	number  uint32 // key on disk, within its session

	qos               packet.QoS
	noLocal           bool
	retainAsPublished bool
	id                uint32 // subscription identifier; 0: none
	lane              uint8

	// Which of its options, counted, are the newest, and which are on disk.
	version uint32
	stored  atomic.Uint32
}

// subscriptionSet is the subscriptions of a session. Most have a few.
type subscriptionSet struct {
	list  []*subscription
	index map[string]int // place in list by filter; nil while there are few
}

const indexFrom = 16

func (s *subscriptionSet) get(filter string) *subscription {
	if s.index != nil {
		if i, ok := s.index[filter]; ok {
			return s.list[i]
		}
		return nil
	}
	for _, sub := range s.list {
		if sub.filter == filter {
			return sub
		}
	}
	return nil
}

// add puts in a subscription whose filter is not there.
func (s *subscriptionSet) add(sub *subscription) {
	s.list = append(s.list, sub)
	if s.index != nil {
		s.index[sub.filter] = len(s.list) - 1
	} else if len(s.list) >= indexFrom {
		s.index = make(map[string]int, 2*indexFrom)
		for i, sub := range s.list {
			s.index[sub.filter] = i
		}
	}
}

// remove fills the gap with the last subscription.
func (s *subscriptionSet) remove(sub *subscription) {
	var i int
	if s.index == nil {
		i = slices.Index(s.list, sub)
	} else {
		i = s.index[sub.filter]
		delete(s.index, sub.filter)
	}
	last := len(s.list) - 1
	if i != last {
		s.list[i] = s.list[last]
		if s.index != nil {
			s.index[s.list[i].filter] = i
		}
	}
	s.list[last] = nil
	s.list = s.list[:last]
}

// target is a subscriber that gets the messages of a topic: once, whatever number
// of its filters match, with the highest QoS and all identifiers
// [MQTT-3.3.4-2] [MQTT-3.3.4-3] [v3 MQTT-3.3.5-1].
type target struct {
	session           *Session
	sub               *subscription // of a sink or a share
	qos               packet.QoS
	retainAsPublished bool
	ids               []uint32
	lane              uint8
	plan              *Plan // what the session wants of the topic; nil: what its subscriptions say

	// all is set if some of the filters are No Local: then it depends on the
	// publisher which of them count.
	all []*subscription
}

// merge adds a matching subscription of the same session.
func (t *target) merge(s *subscription) {
	t.qos = max(t.qos, s.qos)
	t.retainAsPublished = t.retainAsPublished || s.retainAsPublished
	t.lane = max(t.lane, s.lane)
	if s.id != 0 {
		t.ids = append(t.ids, s.id)
	}
}

// without returns the target as it is for messages of its own session; ok is
// false if all filters are No Local [MQTT-3.8.3-3].
func (t *target) without() (rest target, ok bool) {
	rest = target{session: t.session}
	for _, s := range t.all {
		if !s.noLocal {
			rest.merge(s)
			ok = true
		}
	}
	return rest, ok
}

// On disk a subscription has the generation of its session and its number as the
// key; the value is a byte of options, a byte with the lane, the identifier and
// the filter.
func (s *subscription) key() []byte {
	return binary.BigEndian.AppendUint32(s.session.key(), s.number)
}

const (
	subNoLocal           = 0x04
	subRetainAsPublished = 0x08
)

func (s *subscription) value() []byte {
	options := byte(s.qos)
	if s.noLocal {
		options |= subNoLocal
	}
	if s.retainAsPublished {
		options |= subRetainAsPublished
	}
	b := append(make([]byte, 0, 6+len(s.filter)), options, s.lane)
	b = binary.BigEndian.AppendUint32(b, s.id)
	return append(b, s.filter...)
}

func decodeSubscription(key, value []byte) (generation uint64, s *subscription, ok bool) {
	if len(key) != 12 || len(value) < 7 || value[0]&3 > byte(packet.QoS2) || value[1] >= buffer.Lanes {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(key), &subscription{
		filter:            string(value[6:]),
		number:            binary.BigEndian.Uint32(key[8:]),
		qos:               packet.QoS(value[0] & 3),
		noLocal:           value[0]&subNoLocal != 0,
		retainAsPublished: value[0]&subRetainAsPublished != 0,
		id:                binary.BigEndian.Uint32(value[2:]),
		lane:              value[1],
	}, true
}
