package packet_test

import (
	"bytes"
	"reflect"
	"testing"

	"edgegateway/broker/packet"
)

const (
	v31  = packet.V31
	v311 = packet.V311
	v5   = packet.V5

	server = packet.Server
	client = packet.Client
)

// accepted are packets that must be decoded to want, and if same, written again
// byte by byte as they were.
var accepted = []struct {
	name string
	role packet.Role
	v    packet.Version // 0: CONNECT sets it
	wire string
	want packet.Packet
	same bool
}{
	{"3.1 connect", server, 0, `10 ["MQIsdp" 03 02 003c "c"]`,
		&packet.Connect{Version: v31, CleanStart: true, KeepAlive: 60, ClientID: "c"}, true},
	{"3.1 connect whose announced name and password are missing", server, 0, `10 ["MQIsdp" 03 c2 003c "c"]`,
		&packet.Connect{Version: v31, CleanStart: true, KeepAlive: 60, ClientID: "c"}, false},
	{"3.1 connect whose announced password is missing", server, 0, `10 ["MQIsdp" 03 c2 003c "c" "u"]`,
		&packet.Connect{Version: v31, CleanStart: true, KeepAlive: 60, ClientID: "c", UsernameFlag: true, Username: "u"}, false},
	{"3.1 connect with flags that 3.1 gives no meaning", server, 0, `10 ["MQIsdp" 03 3b 003c "c"]`,
		&packet.Connect{Version: v31, CleanStart: true, KeepAlive: 60, ClientID: "c"}, false},
	{"3.1.1 connect", server, 0, `10 ["MQTT" 04 02 0000 "c"]`,
		&packet.Connect{Version: v311, CleanStart: true, ClientID: "c"}, true},
	{"3.1.1 connect without identifier and clean session", server, 0, `10 ["MQTT" 04 00 0000 ""]`,
		&packet.Connect{Version: v311}, true},
	// [v3 MQTT-3.1.3-1] [v3 MQTT-3.1.2-19] [v3 MQTT-3.1.2-21]
	{"3.1.1 connect with will, name and password", server, 0, `10 ["MQTT" 04 ee 000a "c" "w/t" "gone" "u" "p"]`,
		&packet.Connect{Version: v311, CleanStart: true, KeepAlive: 10, ClientID: "c",
			Will:         &packet.Will{Topic: "w/t", Payload: []byte("gone"), QoS: 1, Retain: true},
			UsernameFlag: true, Username: "u", PasswordFlag: true, Password: []byte("p")}, true},
	// [v3 MQTT-3.1.2-9] [v3 MQTT-3.1.2-21]
	{"empty name, password and will payload are not absent", server, 0, `10 ["MQTT" 04 d6 0000 "c" "w" "" "" ""]`,
		&packet.Connect{Version: v311, CleanStart: true, ClientID: "c", Will: &packet.Will{Topic: "w", Payload: []byte{}, QoS: 2},
			UsernameFlag: true, PasswordFlag: true, Password: []byte{}}, true},
	{"5 connect", server, 0, `10 ["MQTT" 05 02 003c [] "c"]`,
		&packet.Connect{Version: v5, CleanStart: true, KeepAlive: 60, ClientID: "c"}, true},
	{"5 connect with a password and no name", server, 0, `10 ["MQTT" 05 40 0000 [] "c" "p"]`,
		&packet.Connect{Version: v5, ClientID: "c", PasswordFlag: true, Password: []byte("p")}, true},
	// [MQTT-3.1.3-1] [MQTT-3.1.2-9] [MQTT-3.1.2-17]
	{"5 connect with all properties", server, 0, `10 ["MQTT" 05 f4 0000
		[11 ffffffff 21 0014 27 00010000 22 000a 19 01 17 00 26 "k" "1" 26 "a" "2" 26 "k" "1" 15 "M" 16 "d"] "c"
		[18 00000005 01 01 02 0000000a 08 "re/ply" 09 "cd" 03 "text/plain" 26 "wk" "wv"] "w" "bye" "u" "p"]`,
		&packet.Connect{Version: v5, ClientID: "c", SessionExpiry: 0xffffffff, ReceiveMaximum: 20, MaximumPacketSize: 65536,
			TopicAliasMaximum: 10, RequestResponseInfo: true, NoProblemInfo: true,
			UserProperties: []packet.UserProperty{{"k", "1"}, {"a", "2"}, {"k", "1"}},
			Authentication: &packet.Authentication{Method: "M", Data: []byte("d")},
			Will: &packet.Will{Topic: "w", Payload: []byte("bye"), QoS: 2, Retain: true, Delay: 5, Properties: packet.Properties{
				Has:           packet.HasPayloadFormat | packet.HasMessageExpiry | packet.HasResponseTopic | packet.HasCorrelationData | packet.HasContentType,
				PayloadFormat: 1, MessageExpiry: 10, ResponseTopic: "re/ply", CorrelationData: []byte("cd"), ContentType: "text/plain",
				UserProperties: []packet.UserProperty{{"wk", "wv"}}}},
			UsernameFlag: true, Username: "u", PasswordFlag: true, Password: []byte("p")}, false},
	{"5 connect that sends the defaults", server, 0, `10 ["MQTT" 05 02 0000 [11 00000000 22 0000 19 00 17 01] "c"]`,
		&packet.Connect{Version: v5, CleanStart: true, ClientID: "c"}, false},
	// [v3 MQTT-1.5.3-3] [MQTT-1.5.4-3]
	{"a byte order mark stays", server, 0, "10 [\"MQTT\" 04 02 0000 \"\uFEFFc\"]",
		&packet.Connect{Version: v311, CleanStart: true, ClientID: "\uFEFFc"}, true},
	{"3.1.1 does not demand the shortest remaining length", server, v311, `c0 8000`, &packet.Pingreq{}, false},

	{"3.1 connack with a byte that means nothing", client, v31, `20 [ff 00]`, &packet.Connack{}, false},
	{"3.1.1 connack with session", client, v311, `20 [01 00]`, &packet.Connack{SessionPresent: true}, true},
	{"3.1.1 connack, identifier rejected", client, v311, `20 [00 02]`, &packet.Connack{Code: packet.ClientIdentifierNotValid}, true},
	{"3.1.1 connack, not authorized", client, v311, `20 [00 05]`, &packet.Connack{Code: packet.NotAuthorized}, true},
	{"5 connack", client, v5, `20 [01 00 []]`, &packet.Connack{SessionPresent: true}, true}, // [MQTT-3.2.2-1]
	{"5 connack with all properties", client, v5, `20 [00 00 [11 00000000 21 0014 24 01 25 00 27 00010000 12 "auto-1" 22 0005
		1f "why" 26 "k" "v" 28 00 29 00 2a 00 13 0000 1a "resp" 1c "other:1883" 15 "M" 16 ""]]`,
		&packet.Connack{SessionExpiry: new(uint32(0)), ReceiveMaximum: 20, MaximumQoS: new(packet.QoS1), RetainUnavailable: true,
			MaximumPacketSize: 65536, AssignedClientID: "auto-1", TopicAliasMaximum: 5,
			Info:                packet.Info{ReasonString: "why", UserProperties: []packet.UserProperty{{"k", "v"}}},
			WildcardUnavailable: true, SubscriptionIDUnavailable: true, SharedUnavailable: true, ServerKeepAlive: new(uint16(0)),
			ResponseInformation: "resp", ServerReference: "other:1883",
			Authentication: &packet.Authentication{Method: "M", Data: []byte{}}}, true},
	{"5 connack, server busy", client, v5, `20 [00 89 []]`, &packet.Connack{Code: packet.ServerBusy}, true},

	{"3.1.1 publish QoS 0", server, v311, `30 ["a/b" 6869]`, &packet.Publish{Topic: []byte("a/b"), Payload: []byte("hi")}, true},
	{"publish without payload", server, v311, `31 ["a/b"]`, &packet.Publish{Topic: []byte("a/b"), Payload: []byte{}, Retain: true}, true}, // [v3 MQTT-2.3.1-5]
	{"3.1.1 publish QoS 1 again", server, v311, `3a ["a/b" 0007 68]`,
		&packet.Publish{Topic: []byte("a/b"), Payload: []byte("h"), ID: 7, QoS: 1, DUP: true}, true},
	{"3.1 publish QoS 2", server, v31, `34 ["/" ffff]`, &packet.Publish{Topic: []byte("/"), Payload: []byte{}, ID: 65535, QoS: 2}, true},
	{"a topic of other than ASCII", server, v311, `30 ["Ä/€/𝄞"]`, &packet.Publish{Topic: []byte("Ä/€/𝄞"), Payload: []byte{}}, true}, // [v3 MQTT-3.3.2-1]
	{"5 publish QoS 0", server, v5, `30 ["a/b" [] 6869]`, &packet.Publish{Topic: []byte("a/b"), Payload: []byte("hi")}, true},       // [MQTT-2.2.1-2] [MQTT-2.2.2-1]
	{"5 publish by alias", server, v5, `30 ["" [23 0001]]`,
		&packet.Publish{Topic: []byte{}, Payload: []byte{}, Properties: packet.Properties{Has: packet.HasTopicAlias, TopicAlias: 1}}, true},
	{"5 publish with all properties", client, v5,
		`3d ["a" 0102 [01 00 02 00000000 23 ffff 08 "r" 09 "" 03 "" 0b 01 0b ffffff7f 26 "" "" 26 "b" "2" 26 "a" "1"] 70]`,
		&packet.Publish{Topic: []byte("a"), Payload: []byte("p"), ID: 0x102, QoS: 2, DUP: true, Retain: true, Properties: packet.Properties{
			Has: packet.HasPayloadFormat | packet.HasMessageExpiry | packet.HasTopicAlias | packet.HasResponseTopic |
				packet.HasCorrelationData | packet.HasContentType,
			TopicAlias: 0xffff, ResponseTopic: "r", CorrelationData: []byte{}, SubscriptionIDs: []uint32{1, 268435455},
			UserProperties: []packet.UserProperty{{"", ""}, {"b", "2"}, {"a", "1"}}}}, true},

	{"puback", server, v311, `40 [0001]`, &packet.Ack{Kind: packet.PUBACK, ID: 1}, true},
	{"pubrec", server, v311, `50 [0001]`, &packet.Ack{Kind: packet.PUBREC, ID: 1}, true},
	{"pubrel", server, v311, `62 [0001]`, &packet.Ack{Kind: packet.PUBREL, ID: 1}, true},
	{"3.1 pubrel again", server, v31, `6a [0001]`, &packet.Ack{Kind: packet.PUBREL, ID: 1}, false},
	{"pubcomp", server, v311, `70 [0001]`, &packet.Ack{Kind: packet.PUBCOMP, ID: 1}, true},
	{"5 puback in short", server, v5, `40 [0001]`, &packet.Ack{Kind: packet.PUBACK, ID: 1}, true},
	{"5 puback with a code", server, v5, `40 [0001 10]`, &packet.Ack{Kind: packet.PUBACK, ID: 1, Code: packet.NoMatchingSubscribers}, true},
	{"5 puback in full", server, v5, `40 [0001 00 []]`, &packet.Ack{Kind: packet.PUBACK, ID: 1}, false},
	{"5 pubrec with a reason", server, v5, `50 [0001 97 [1f "full" 26 "k" "v"]]`,
		&packet.Ack{Kind: packet.PUBREC, ID: 1, Code: packet.QuotaExceeded,
			Info: packet.Info{ReasonString: "full", UserProperties: []packet.UserProperty{{"k", "v"}}}}, true},
	{"5 pubrel of an unknown identifier", server, v5, `62 [0001 92]`,
		&packet.Ack{Kind: packet.PUBREL, ID: 1, Code: packet.PacketIdentifierNotFound}, true},

	{"3.1.1 subscribe", server, v311, `82 [0001 "a/+" 01 "#" 02]`,
		&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "a/+", QoS: 1}, {Filter: "#", QoS: 2}}}, true},
	{"3.1 subscribe again, upper bits set", server, v31, `8a [0001 "a" fd]`,
		&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "a", QoS: 1}}}, false},
	{"5 subscribe with everything", server, v5, `82 [0001 [0b 8001 26 "k" "v"] "+/+/#" 2e "$share/g/a" 12]`,
		&packet.Subscribe{ID: 1, SubscriptionID: 128, UserProperties: []packet.UserProperty{{"k", "v"}}, Subscriptions: []packet.Subscription{
			{Filter: "+/+/#", QoS: 2, NoLocal: true, RetainAsPublished: true, RetainHandling: packet.NoRetained},
			{Filter: "$share/g/a", QoS: 2, RetainHandling: packet.SendRetainedIfNew}}}, true},
	{"a share without a group is a plain filter in 3.1.1", server, v311, `82 [0001 "$share//a" 00]`,
		&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "$share//a"}}}, true},
	{"3.1.1 suback", client, v311, `90 [0001 00 01 02 80]`,
		&packet.Suback{ID: 1, Codes: []packet.ReasonCode{0, 1, 2, 0x80}}, true},
	{"5 suback", client, v5, `90 [0001 [1f "no"] 02 a2]`,
		&packet.Suback{ID: 1, Codes: []packet.ReasonCode{2, 0xa2}, Info: packet.Info{ReasonString: "no"}}, true},
	{"3.1.1 unsubscribe", server, v311, `a2 [0001 "a" "b/#"]`, &packet.Unsubscribe{ID: 1, Filters: []string{"a", "b/#"}}, true},
	{"5 unsubscribe", server, v5, `a2 [0001 [26 "k" "v"] "a"]`,
		&packet.Unsubscribe{ID: 1, Filters: []string{"a"}, UserProperties: []packet.UserProperty{{"k", "v"}}}, true},
	{"5 unsubscribe from a shared subscription", server, v5, `a2 [0001 [] "$share/g/a/#"]`,
		&packet.Unsubscribe{ID: 1, Filters: []string{"$share/g/a/#"}}, true},
	{"3.1.1 unsuback", client, v311, `b0 [0001]`, &packet.Unsuback{ID: 1}, true},
	{"5 unsuback", client, v5, `b0 [0001 [] 00 11]`, &packet.Unsuback{ID: 1, Codes: []packet.ReasonCode{0, 0x11}}, true},

	{"pingreq", server, v5, `c0 []`, &packet.Pingreq{}, true},
	{"pingresp", client, v31, `d0 []`, &packet.Pingresp{}, true},
	{"3.1.1 disconnect", server, v311, `e0 []`, &packet.Disconnect{}, true},
	{"5 disconnect", server, v5, `e0 []`, &packet.Disconnect{}, true},
	{"5 disconnect with will", server, v5, `e0 [04]`, &packet.Disconnect{Code: packet.DisconnectWithWillMessage}, true},
	{"5 disconnect with a new expiry of 0", server, v5, `e0 [00 [11 00000000 1f "bye"]]`,
		&packet.Disconnect{SessionExpiry: new(uint32(0)), Info: packet.Info{ReasonString: "bye"}}, true},
	{"5 disconnect by the server", client, v5, `e0 [9d [1c "there" 26 "k" "v"]]`,
		&packet.Disconnect{Code: packet.ServerMoved, ServerReference: "there",
			Info: packet.Info{UserProperties: []packet.UserProperty{{"k", "v"}}}}, true},
	{"5 auth, next step", server, v5, `f0 [18 [15 "M" 16 "d" 1f "r"]]`,
		&packet.Auth{Code: packet.ContinueAuthentication, Authentication: &packet.Authentication{Method: "M", Data: []byte("d")},
			Info: packet.Info{ReasonString: "r"}}, true},
	{"5 auth, success in short", client, v5, `f0 []`, &packet.Auth{}, true},
}

func TestEveryPacketIsReadAndWritten(t *testing.T) {
	for _, c := range accepted {
		t.Run(c.name, func(t *testing.T) {
			b := wire(t, clean(c.wire))
			d := packet.Decoder{Role: c.role, Version: c.v}
			got := one(t, &d, b)
			if !reflect.DeepEqual(got, c.want) {
				t.Fatalf("% x\n got %#v\nwant %#v", b, got, c.want)
			}
			checkWritten(t, c.role, d.Version, got, b, c.same)
		})
	}
}

// checkWritten checks what is written of a packet: as it was if same, always of
// the size that Size said, and read back as the same.
func checkWritten(t testing.TB, role packet.Role, v packet.Version, p packet.Packet, was []byte, same bool) {
	t.Helper()
	prefix := []byte("before")
	out := p.Append(prefix, v)
	if !bytes.HasPrefix(out, prefix) {
		t.Fatalf("Append changed what was in dst: % x", out)
	}
	out = out[len(prefix):]
	if len(out) != p.Size(v) {
		t.Errorf("Size = %d, Append wrote %d bytes", p.Size(v), len(out))
	}
	if same && !bytes.Equal(out, was) {
		t.Errorf("written\n got % x\nwant % x", out, was)
	}
	again := packet.Decoder{Role: role, Version: v}
	if p.Type() == packet.CONNECT {
		again.Version = 0
	}
	if got := one(t, &again, out); !reflect.DeepEqual(got, p) {
		t.Errorf("% x\nread again %#v\n     first %#v", out, got, p)
	}
}

func clean(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c == '\n' || c == '\t' {
			b[i] = ' '
		}
	}
	return string(b)
}
