package broker_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// guarded is a broker with access rules, ours or Mosquitto, and the users root, anna
// and bert.
type guarded struct {
	testing.TB
	addr string
}

func rulesFile(t testing.TB, rules string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// bothGuarded runs a test against our broker and against a real Mosquitto, with the
// same files.
func bothGuarded(t *testing.T, rules string, run func(*testing.T, guarded)) {
	passwords, acl := filepath.Join(t.TempDir(), "passwd"), rulesFile(t, rules)
	for _, user := range []string{"root", "anna", "bert"} {
		brokertest.Passwd(t, passwords, user, "secret")
	}
	t.Run("ours", func(t *testing.T) {
		cfg := config()
		cfg.SysInterval = 10 * time.Second
		h := open(t, t.TempDir(), cfg)
		anonymous := true
		l := broker.ListenerConfig{Address: "tcp://127.0.0.1:0", PasswordFile: passwords, ACLFile: acl, AllowAnonymous: &anonymous}
		run(t, guarded{t, h.serveMore(l).String()})
	})
	t.Run("Mosquitto", func(t *testing.T) {
		run(t, guarded{t, brokertest.Mosquitto(t, "user root\npassword_file "+passwords+"\nacl_file "+acl)})
	})
}

// connect connects user:client identifier; without a user it is anonymous.
func (g guarded) connect(v packet.Version, who string, will *packet.Will) *brokertest.Client {
	g.Helper()
	user, id, _ := strings.Cut(who, ":")
	p := &packet.Connect{ClientID: id, CleanStart: true, Will: will}
	if user != "" {
		p.UsernameFlag, p.Username, p.PasswordFlag, p.Password = true, user, true, []byte("secret")
	}
	c, _ := brokertest.Connect(g, g.addr, v, p)
	return c
}

// subscribeAll is accepted whatever the client may read.
func (g guarded) subscribeAll(c *brokertest.Client) {
	g.Helper()
	c.Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "#"}, {Filter: "$x/#"}}}).
		Expect(&packet.Suback{ID: 1, Codes: make([]packet.ReasonCode, 2)})
}

// received returns the topics of all messages that are there. Acknowledgements are
// passed over.
func received(c *brokertest.Client) (topics []string) {
	c.Send(&packet.Pingreq{})
	for {
		switch p := c.Receive().(type) {
		case *packet.Publish:
			topics = append(topics, string(p.Topic))
		case *packet.Pingresp:
			return topics
		}
	}
}

// verdicts tells what a client may do with topics: r, w, rw or -. Everything is found
// out in two ways, which have to agree.
func (g guarded) verdicts(who string, topics []string) map[string]string {
	g.Helper()
	got := make(map[string]string)
	root := g.connect(packet.V5, "root:root", nil)
	live := g.connect(packet.V311, who, nil)
	g.subscribeAll(live)
	for i, topic := range topics {
		m := message(topic, "retained", 1)
		m.ID, m.Retain = uint16(i+1), true
		root.Send(m).Expect(ack(packet.PUBACK, m.ID))
	}
	readable := received(live)
	live.Leave()
	replayed := g.connect(packet.V5, who, nil)
	g.subscribeAll(replayed)
	again := received(replayed)
	slices.Sort(readable)
	slices.Sort(again)
	if !slices.Equal(readable, again) {
		g.Errorf("%s: live messages %q, retained messages %q", who, readable, again)
	}
	g.subscribeAll(root)
	received(root)
	replayed.Leave()
	five := g.connect(packet.V5, who, nil)
	var writable []string
	for i, topic := range topics {
		for _, qos := range []packet.QoS{1, 2} {
			m := message(topic, "five", qos)
			m.ID = uint16(2*i) + uint16(qos)
			a := five.Send(m).Receive().(*packet.Ack)
			switch {
			case a.Code == packet.NotAuthorized:
				if slices.Contains(writable, topic) {
					g.Errorf("%s: %s may be written with QoS 1 and not with QoS 2", who, topic)
				}
			case a.Code.IsError():
				g.Errorf("%s: %s: got %v", who, topic, a.Code)
			case qos == 1:
				writable = append(writable, topic)
			default:
				if !slices.Contains(writable, topic) {
					g.Errorf("%s: %s may be written with QoS 2 and not with QoS 1", who, topic)
				}
				five.Send(ack(packet.PUBREL, m.ID)).Expect(ack(packet.PUBCOMP, m.ID))
			}
		}
	}
	five.Leave()
	received(root)
	three := g.connect(packet.V311, who, nil)
	for i, topic := range topics { // acknowledged, allowed or not [v3 MQTT-3.3.5-2]
		m := message(topic, "three", 1)
		m.ID = uint16(i + 1)
		three.Send(m).Expect(ack(packet.PUBACK, m.ID))
		m.QoS, m.ID = 2, uint16(i+1)
		three.Send(m).Expect(ack(packet.PUBREC, m.ID)).Send(ack(packet.PUBREL, m.ID)).Expect(ack(packet.PUBCOMP, m.ID))
		three.Send(message(topic, "three", 0))
	}
	three.ExpectNothing()
	three.Leave()
	delivered := received(root)
	var thrice []string
	for _, topic := range writable {
		thrice = append(thrice, topic, topic, topic)
	}
	if !slices.Equal(delivered, thrice) {
		g.Errorf("%s: with MQTT 3.1.1 it could publish %q, want %q", who, delivered, thrice)
	}
	for _, topic := range topics {
		var v string
		if slices.Contains(readable, topic) {
			v = "r"
		}
		if slices.Contains(writable, topic) {
			v += "w"
		}
		if v == "" {
			v = "-"
		}
		got[topic] = v
		clear := message(topic, "", 0) // no acknowledgement is to come when root leaves
		clear.Retain = true
		root.Send(clear)
	}
	received(root)
	root.Leave()
	return got
}

const houseRules = `# the first lines are for those without a name
topic read public/#
topic   write   inbox

user root
topic #
topic $x/#
topic read $SYS/#

user anna
topic deny house/safe
topic house/#
topic read  with space/+
topic deny house/cellar/#
topic write $x/log
topic read public/news

user bert
topic read house/+/state
topic deny mail/bert/spam
topic read mail/bert/trash

pattern readwrite mail/%u/#
pattern write from/%c
pattern deny mail/%u/trash
pattern read all/+
pattern read dev-%c/+
user anna
topic read later
`

// The same file gives the same verdicts as with Mosquitto.
func TestAccessRulesAsWithMosquitto(t *testing.T) {
	bothGuarded(t, houseRules, func(t *testing.T, g guarded) {
		for _, c := range []struct {
			who  string
			want map[string]string
		}{
			{":nobody", map[string]string{
				"public/a": "r", "public": "r", "inbox": "w", "house/x": "-", "all/x": "r", "all/x/y": "-",
				"from/nobody": "w", "from/other": "-", "mail/anna": "-", "mail//x": "-", "$x/log": "-",
			}},
			{"anna:a1", map[string]string{
				"house/safe": "-", "house": "rw", "house/x/y": "rw", "house/cellar": "-", "house/cellar/x": "-",
				"with space/x": "r", "public/a": "-", "public/news": "r", "inbox": "-", "later": "r",
				"mail/anna": "rw", "mail/anna/x": "rw", "mail/anna/trash": "-", "mail/bert/x": "-",
				"from/a1": "w", "from/anna": "-", "$x/log": "w", "$x/other": "-", "all/x": "r",
			}},
			{"bert:b1", map[string]string{
				"house/x/state": "r", "house/x": "-", "mail/bert/spam": "-", "mail/bert/x": "rw", "later": "-",
				"mail/bert/trash": "r", // topics come before patterns, and their deny
				"dev-b1/x":        "r", "dev-b2/x": "-",
			}},
			{"bert:b+", map[string]string{ // no pattern holds for a name with a wildcard
				"house/x/state": "r", "mail/bert/x": "-", "from/b1": "-", "all/x": "-",
			}},
			{"anna:#", map[string]string{"house/x": "rw", "from/a1": "-", "mail/anna": "-"}},
		} {
			topics := slices.Sorted(maps.Keys(c.want))
			if got := g.verdicts(c.who, topics); !maps.Equal(got, c.want) {
				for _, topic := range topics {
					if got[topic] != c.want[topic] {
						t.Errorf("%s, %s: got %s, want %s", c.who, topic, got[topic], c.want[topic])
					}
				}
			}
		}
	})
}

// A file without any rule allows nothing.
func TestEmptyRulesForbidEverything(t *testing.T) {
	bothGuarded(t, "# nothing\n", func(t *testing.T, g guarded) {
		c := g.connect(packet.V5, "anna:a", nil)
		subscribe(t, c, "#", 0)
		m := message("t", "x", 1)
		m.ID = 1
		c.Send(m).Expect(&packet.Ack{Kind: packet.PUBACK, ID: 1, Code: packet.NotAuthorized}).ExpectNothing()
	})
}

func TestWillIsHeldAgainstTheRules(t *testing.T) {
	bothGuarded(t, houseRules, func(t *testing.T, g guarded) {
		root := g.connect(packet.V5, "root:root", nil)
		subscribe(t, root, "#", 0)
		for _, v := range []packet.Version{packet.V311, packet.V5} {
			g.connect(v, "anna:forbidden", &packet.Will{Topic: "house/safe", Payload: []byte("w")}).Drop()
			g.connect(v, "anna:allowed", &packet.Will{Topic: "house/x", Payload: []byte("w")}).Drop()
			root.Expect(message("house/x", "w", 0)).ExpectNothing()
		}
	})
}

func TestFiguresOfTheBrokerNeedRights(t *testing.T) {
	bothGuarded(t, houseRules, func(t *testing.T, g guarded) {
		root, anna := g.connect(packet.V5, "root:root", nil), g.connect(packet.V5, "anna:a", nil)
		subscribe(t, anna, "$SYS/broker/version", 0)
		anna.ExpectNothing()
		subscribe(t, root, "$SYS/broker/version", 0)
		if p, ok := root.Receive().(*packet.Publish); !ok || string(p.Topic) != "$SYS/broker/version" {
			t.Errorf("received %v, want the version", p)
		}
	})
}

// A name that nobody has verified opens nothing, and a name can not be made so that
// a pattern reaches further.
func TestNamesDoNotWidenAPattern(t *testing.T) {
	h := open(t, t.TempDir(), config())
	rules := "user root\ntopic #\npattern readwrite sensor/%c/#\npattern readwrite %c/x\npattern read user/%u\npattern deny sensor/%c/secret\n"
	addr := h.serveMore(broker.ListenerConfig{Address: "tcp://127.0.0.1:0", ACLFile: rulesFile(t, rules)}).String()
	for _, c := range []struct {
		id, topic string
		want      packet.ReasonCode
	}{
		{"a", "sensor/a/x", packet.Success},
		{"a", "sensor/a/secret", packet.NotAuthorized},
		{"a", "a/x", packet.Success},
		{"a", "other", packet.NotAuthorized}, // would root be believed?
		{"+", "sensor/a/x", packet.NotAuthorized},
		{"#", "sensor/a/x", packet.NotAuthorized},
		{"a/b", "sensor/a/b/x", packet.NotAuthorized},
		{"$secret", "$secret/x", packet.NotAuthorized},
		{"%u", "sensor/%u/x", packet.Success},
		{"%u", "sensor/root/x", packet.NotAuthorized},
	} {
		p := &packet.Connect{ClientID: c.id, CleanStart: true, UsernameFlag: true, Username: "root"}
		client, _ := brokertest.Connect(t, addr, packet.V5, p)
		m := message(c.topic, "x", 1)
		m.ID = 1
		client.Send(m).Expect(&packet.Ack{Kind: packet.PUBACK, ID: 1, Code: c.want})
		client.Leave()
	}
}

// What waited for an absent client is held against its rights when it comes back:
// they may be others by then, and nobody knows them before after a restart.
func TestQueuedMessagesAreHeldAgainstTheRightsOfTheDay(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			dir, passwords := t.TempDir(), filepath.Join(t.TempDir(), "passwd")
			brokertest.Passwd(t, passwords, "anna", "secret")
			brokertest.Passwd(t, passwords, "bert", "secret")
			rules := rulesFile(t, "user anna\ntopic #\nuser bert\ntopic read b/#\n")
			h := open(t, dir, config())
			listener := broker.ListenerConfig{Address: "tcp://127.0.0.1:0", PasswordFile: passwords, ACLFile: rules}
			login := func(addr, user string) *brokertest.Client {
				c, _ := brokertest.Connect(t, addr, packet.V5, &packet.Connect{
					ClientID: "shared", SessionExpiry: 600, UsernameFlag: true, Username: user, PasswordFlag: true, Password: []byte("secret"),
				})
				return c
			}
			addr := h.serveMore(listener).String()
			anna := login(addr, "anna")
			subscribe(t, anna, "#", 2)
			pub := connect(t, h, packet.V5, "pub", true)
			publish := func(topic string, qos packet.QoS) {
				m := message(topic, "m", qos)
				m.ID = uint16(min(qos, 1))
				kind := packet.PUBACK
				if qos == 2 {
					kind = packet.PUBREC
				}
				if pub.Send(m); qos == 0 {
					pub.ExpectNothing()
					return
				}
				pub.Expect(ack(kind, 1))
				if qos == 2 {
					pub.Send(ack(packet.PUBREL, 1)).Expect(ack(packet.PUBCOMP, 1))
				}
			}
			publish("a/sent", 2)
			anna.Expect(message("a/sent", "m", 2))
			sent := anna.IDs()[0]
			anna.Leave()
			if restart {
				h.stop()
				h = open(t, dir, config())
				addr = h.serveMore(listener).String()
				pub = connect(t, h, packet.V5, "pub", true)
			}
			publish("a/x", 1)
			publish("b/x", 1)
			bert := login(addr, "bert")
			bert.Expect(ack(packet.PUBREL, sent), message("b/x", "m", 1))
			bert.Send(ack(packet.PUBACK, bert.IDs()[0]), &packet.Ack{Kind: packet.PUBCOMP, ID: sent, Code: packet.PacketIdentifierNotFound})
			publish("a/x", 1) // who gets it was looked up for anna before
			bert.ExpectNothing()
			publish("b/y", 1)
			bert.Expect(message("b/y", "m", 1))
			bert.Send(ack(packet.PUBACK, bert.IDs()[0])).Leave()
			anna = login(addr, "anna")
			publish("a/z", 0)
			anna.Expect(message("a/z", "m", 0)).Leave()
			bert = login(addr, "bert")
			publish("a/z", 0)
			bert.ExpectNothing()
		})
	}
}

func TestWrongRulesAreRefusedWithTheirLine(t *testing.T) {
	h := open(t, t.TempDir(), config())
	for _, c := range []struct{ line, want string }{
		{"topics a", `not with "topics"`},
		{"user", "without a name"},
		{"topic", "has no topic"},
		{"pattern read", ""}, // a topic named read
		{"topic rw a", `the access "rw"`},
		{"topic read a/#/b", `"a/#/b"`},
		{"topic a+", `"a+"`},
		{" # not a comment", `not with "#"`},
	} {
		l := broker.ListenerConfig{Address: "tcp://127.0.0.1:0", ACLFile: rulesFile(t, "# x\n\ntopic read ok\n"+c.line+"\n")}
		if c.want == "" {
			h.serveMore(l)
			continue
		}
		_, opened := broker.Listen(l)
		ln, err := broker.Listen(broker.ListenerConfig{Address: l.Address})
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{opened, h.Serve(t.Context(), ln, l)} {
			if err == nil || !strings.Contains(err.Error(), l.ACLFile+":4: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("line %q: got %v, want an error with its line and %q", c.line, err, c.want)
			}
		}
	}
}

// Whoever answers inside the process has more rights than the client that asked.
func TestResponseTopicIsHeldAgainstTheRules(t *testing.T) {
	cfg := config()
	h := open(t, t.TempDir(), cfg)
	passwords := filepath.Join(t.TempDir(), "passwd")
	brokertest.Passwd(t, passwords, "anna", "secret")
	addr := h.serveMore(broker.ListenerConfig{Address: "tcp://127.0.0.1:0", PasswordFile: passwords, ACLFile: rulesFile(t, houseRules)}).String()
	asked := make(chan broker.Message, 1)
	device := &inbox{deliver: func(d *broker.Delivery) { asked <- *d.Message }}
	if err := h.Local("device", broker.Rights{}).Subscribe("house/#", broker.SubscribeOptions{QoS: 1}, device); err != nil {
		t.Fatal(err)
	}
	anna := guarded{t, addr}.connect(packet.V5, "anna:a1", &packet.Will{Topic: "house/will", Properties: answerTo("house/answers")})
	for _, c := range []struct {
		response string
		noReply  bool
	}{{"", false}, {"house/answers", false}, {"house/safe", true}, {"elsewhere", true}, {"from/a1", false}} {
		anna.Send(&packet.Publish{Topic: []byte("house/x"), QoS: 1, ID: 1, Properties: answerTo(c.response)}).
			Expect(&packet.Ack{Kind: packet.PUBACK, ID: 1})
		if m := <-asked; m.NoReply != c.noReply {
			t.Errorf("response topic %q: NoReply %v", c.response, m.NoReply)
		}
	}
	anna.Drop()
	if m := <-asked; m.Topic != "house/will" || !m.NoReply {
		t.Errorf("the will: %+v", m)
	}
}

func answerTo(topic string) (p packet.Properties) {
	if topic != "" {
		p.Has, p.ResponseTopic = packet.HasResponseTopic, topic
	}
	return p
}
