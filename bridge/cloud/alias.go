package cloud

// aliases are the topics that a connection sends as numbers (3.3.2.3.4): those that
// come most often, as far as the server has numbers for them. Not safe for
// concurrent use: it belongs to the pump.
type aliases struct {
	max    int // numbers that may be used
	used   int // numbers in use, from 1
	topics map[string]*alias
	seen   int // messages since the counts were halved
}

// alias is a topic that has a number, or may get one.
type alias struct {
	number uint16 // 0: none
	count  int    // of messages, fading
}

// We chose these.
const (
	mostAliases   = 64      // they cost memory on both sides
	candidates    = 4       // topics that are counted, for each number
	aliasFade     = 4096    // messages after which old ones count half
	aliasCost     = 1 + 2   // bytes of the property
	aliasMost     = 3 + 2   // by which a packet grows with it: two lengths may take a byte more each
	longestAlias  = 1 << 10 // a topic that is longer is not remembered
	aliasTakeOver = 2       // as often a topic must come as the one whose number it takes
)

func newAliases(max int) *aliases {
	return &aliases{max: min(max, mostAliases), topics: make(map[string]*alias)}
}

// number is the topic's, 0 if it has none. known says that the server has seen the
// two together: then the topic itself is left out. What is returned has to be sent.
func (a *aliases) number(topic string) (n uint16, known bool) {
	if a.max == 0 || len(topic) <= aliasCost || len(topic) > longestAlias {
		return 0, false
	}
	if a.seen++; a.seen >= aliasFade {
		a.fade()
	}
	t := a.topics[topic]
	if t == nil {
		if len(a.topics) >= candidates*a.max {
			return 0, false // until some have faded
		}
		t = new(alias)
		a.topics[topic] = t
	}
	t.count++
	switch {
	case t.number != 0:
		return t.number, true
	case t.count == 1:
		return 0, false // it may never come again
	case a.used < a.max:
		a.used++
		t.number = uint16(a.used)
		return t.number, false
	}
	if rare := a.rarest(); t.count > aliasTakeOver*rare.count {
		t.number, rare.number = rare.number, 0
	}
	return t.number, false
}

// rarest is the topic with a number that came least often.
func (a *aliases) rarest() (rare *alias) {
	for _, t := range a.topics {
		if t.number != 0 && (rare == nil || t.count < rare.count) {
			rare = t
		}
	}
	return rare
}

// fade makes room for what comes often now.
func (a *aliases) fade() {
	a.seen = 0
	for topic, t := range a.topics {
		if t.count /= 2; t.count == 0 && t.number == 0 {
			delete(a.topics, topic)
		}
	}
}
