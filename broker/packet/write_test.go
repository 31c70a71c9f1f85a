package packet_test

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"edgegateway/broker/packet"
)

// Every packet is written for every version that has it, and read back: what the
// version does not know is gone, the rest is there.
func TestAnOlderVersionLeavesOutWhatItDoesNotKnow(t *testing.T) {
	user := []packet.UserProperty{{Key: "k", Value: "v"}}
	info := packet.Info{ReasonString: "r", UserProperties: user}
	for _, c := range []struct {
		name     string
		p        packet.Packet
		v        packet.Version
		wire     string
		readBack packet.Packet
	}{
		{"connect", &packet.Connect{CleanStart: true, ClientID: "c", SessionExpiry: 9, UserProperties: user,
			Will: &packet.Will{Topic: "w", Payload: []byte{}, Delay: 4}}, v311, `10 ["MQTT" 04 06 0000 "c" "w" ""]`,
			&packet.Connect{Version: v311, CleanStart: true, ClientID: "c", Will: &packet.Will{Topic: "w", Payload: []byte{}}}},
		{"connack", &packet.Connack{SessionPresent: true, ReceiveMaximum: 5, Info: info}, v311, `20 [01 00]`, &packet.Connack{SessionPresent: true}},
		{"connack has no session present in 3.1", &packet.Connack{SessionPresent: true}, v31, `20 [00 00]`, &packet.Connack{}},
		{"a maximum QoS of 2 is not sent", &packet.Connack{MaximumQoS: new(packet.QoS2)}, v5, `20 [00 00 []]`, &packet.Connack{}},
		{"publish", &packet.Publish{Topic: []byte("a"), Payload: []byte{}, QoS: 1, ID: 1,
			Properties: packet.Properties{Has: packet.HasTopicAlias, TopicAlias: 1, UserProperties: user}}, v31, `32 ["a" 0001]`,
			&packet.Publish{Topic: []byte("a"), Payload: []byte{}, QoS: 1, ID: 1}},
		{"puback", &packet.Ack{Kind: packet.PUBACK, ID: 1, Code: packet.NoMatchingSubscribers, Info: info}, v311, `40 [0001]`,
			&packet.Ack{Kind: packet.PUBACK, ID: 1}},
		{"subscribe", &packet.Subscribe{ID: 1, SubscriptionID: 3, Subscriptions: []packet.Subscription{
			{Filter: "a", QoS: 1, NoLocal: true, RetainAsPublished: true, RetainHandling: packet.NoRetained}}}, v311, `82 [0001 "a" 01]`,
			&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "a", QoS: 1}}}},
		{"suback has one failure", &packet.Suback{ID: 1, Codes: []packet.ReasonCode{2, packet.NotAuthorized}, Info: info}, v311,
			`90 [0001 02 80]`, &packet.Suback{ID: 1, Codes: []packet.ReasonCode{2, 0x80}}},
		{"unsubscribe", &packet.Unsubscribe{ID: 1, Filters: []string{"a"}, UserProperties: user}, v31, `a2 [0001 "a"]`,
			&packet.Unsubscribe{ID: 1, Filters: []string{"a"}}},
		{"unsuback has no codes", &packet.Unsuback{ID: 1, Codes: []packet.ReasonCode{0}, Info: info}, v311, `b0 [0001]`, &packet.Unsuback{ID: 1}},
		{"disconnect", &packet.Disconnect{Code: packet.DisconnectWithWillMessage, Info: info}, v311, `e0 []`, &packet.Disconnect{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, want := c.p.Append(nil, c.v), wire(t, c.wire)
			if !bytes.Equal(got, want) {
				t.Fatalf("written\n got % x\nwant % x", got, want)
			}
			if c.p.Size(c.v) != len(want) {
				t.Errorf("Size = %d, want %d", c.p.Size(c.v), len(want))
			}
			d := packet.Decoder{Role: packet.Either, Version: c.v}
			if p := one(t, &d, got); !reflect.DeepEqual(p, c.readBack) {
				t.Errorf("read back %#v\nwant %#v", p, c.readBack)
			}
		})
	}
}

func TestConnackNeverCarriesAnMQTT5CodeIn3x(t *testing.T) {
	for code := range 256 {
		c := packet.ReasonCode(code)
		want, known := c.ReturnCode()
		got := (&packet.Connack{Code: c}).Append(nil, v311)
		if len(got) != 4 || got[3] != byte(want) || got[3] > 5 {
			t.Errorf("code 0x%02X: % x, want return code %d", code, got, want)
		}
		if known == (want == packet.V3ServerUnavailable) && known != map[packet.ReasonCode]bool{
			packet.ServerUnavailable: true, packet.ServerBusy: true, packet.ServerShuttingDown: true, packet.QuotaExceeded: true,
			packet.UseAnotherServer: true, packet.ServerMoved: true, packet.ConnectionRateExceeded: true}[c] {
			t.Errorf("code 0x%02X: known %v, return code %d", code, known, want)
		}
	}
	for code, want := range map[packet.ReasonCode]packet.ReturnCode{
		packet.Success: 0, packet.UnsupportedProtocolVersion: 1, packet.ClientIdentifierNotValid: 2, packet.ServerBusy: 3,
		packet.BadUserNameOrPassword: 4, packet.NotAuthorized: 5} {
		if got, ok := code.ReturnCode(); got != want || !ok {
			t.Errorf("%v is return code %d, %v; want %d", code, got, ok, want)
		}
	}
	if _, ok := packet.MalformedPacket.ReturnCode(); ok {
		t.Error("3.x has a return code for a malformed packet")
	}
}

func TestOneEncodingServesManyReceivers(t *testing.T) {
	for _, v := range []packet.Version{v31, v311, v5} {
		for _, topic := range []string{"t", strings.Repeat("t", 200)} { // the header is one byte longer for the second
			p := packet.Publish{Topic: []byte(topic), Payload: []byte("hi"), QoS: 1, ID: 1}
			template, idAt := p.AppendAt([]byte("before"), v)
			template = template[len("before"):]
			packet.SetID(template, idAt, 0xABCD)
			packet.SetDUP(template, true)
			packet.SetRetain(template, true)
			want := packet.Publish{Topic: p.Topic, Payload: p.Payload, QoS: 1, ID: 0xABCD, DUP: true, Retain: true}
			d := packet.Decoder{Role: client, Version: v}
			if got := one(t, &d, template); !reflect.DeepEqual(got, &want) {
				t.Errorf("%v: got %+v, want %+v", v, got, &want)
			}
			packet.SetDUP(template, false)
			packet.SetRetain(template, false)
			packet.SetID(template, idAt, 1)
			if want := p.Append(nil, v); !bytes.Equal(template, want) {
				t.Errorf("%v: set back % x, want % x", v, template, want)
			}
			p.QoS = 0
			if _, idAt := p.AppendAt(nil, v); idAt != 0 {
				t.Errorf("%v: QoS 0 has an identifier at %d", v, idAt)
			}
		}
	}
}

func TestSizeSaysWhatCanNotBeWritten(t *testing.T) {
	long, huge := strings.Repeat("x", 65536), make([]byte, packet.MaxSize)
	for _, c := range []struct {
		name string
		p    packet.Packet
	}{
		{"client identifier", &packet.Connect{ClientID: long}},
		{"password", &packet.Connect{PasswordFlag: true, Password: []byte(long)}},
		{"will content type", &packet.Connect{Will: &packet.Will{Topic: "w", Properties: packet.Properties{Has: packet.HasContentType, ContentType: long}}}},
		{"reason string", &packet.Connack{Info: packet.Info{ReasonString: long}}},
		{"topic", &packet.Publish{Topic: []byte(long)}},
		{"correlation data", &packet.Publish{Topic: []byte("a"),
			Properties: packet.Properties{Has: packet.HasCorrelationData, CorrelationData: []byte(long)}}},
		{"payload", &packet.Publish{Topic: []byte("a"), Payload: huge}},
		{"payload that leaves no room for the topic", &packet.Publish{Topic: []byte("a"), Payload: huge[:packet.MaxSize-5]}},
		{"user property", &packet.Ack{Kind: packet.PUBACK, Info: packet.Info{UserProperties: []packet.UserProperty{{Key: "k", Value: long}}}}},
		{"user properties of 4 GiB in all", &packet.Auth{Info: packet.Info{
			UserProperties: slices.Repeat([]packet.UserProperty{{Value: long[:65535]}}, 65536)}}},
		{"filter", &packet.Subscribe{Subscriptions: []packet.Subscription{{Filter: long}}}},
		{"unsubscribe filter", &packet.Unsubscribe{Filters: []string{long}}},
		{"suback reason", &packet.Suback{Info: packet.Info{ReasonString: long}}},
		{"unsuback reason", &packet.Unsuback{Info: packet.Info{ReasonString: long}}},
		{"server reference", &packet.Disconnect{ServerReference: long}},
		{"authentication data", &packet.Auth{Authentication: &packet.Authentication{Method: "M", Data: []byte(long)}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.p.Size(v5); got <= packet.MaxSize {
				t.Errorf("Size = %d, want more than %d", got, packet.MaxSize)
			}
			defer func() {
				if recover() == nil {
					t.Error("Append wrote it")
				}
			}()
			c.p.Append(nil, v5)
		})
	}
	full := packet.Publish{Topic: []byte("a"), Payload: huge[:packet.MaxSize-5-4]}
	if got := full.Size(v5); got != packet.MaxSize {
		t.Errorf("the largest PUBLISH has size %d, want %d", got, packet.MaxSize)
	}
}

// The first and last Remaining Length of each width (v3 table 2.4, table 1-1).
func TestTheRemainingLengthTakesAsFewBytesAsItCan(t *testing.T) {
	for _, c := range []struct {
		rest   int
		header string
	}{
		{127, "30 7f"}, {128, "30 8001"}, {16_383, "30 ff7f"}, {16_384, "30 808001"}, {2_097_151, "30 ffff7f"}, {2_097_152, "30 80808001"},
	} {
		p := packet.Publish{Topic: []byte("a"), Payload: make([]byte, c.rest-len("xxa")-1)}
		b, header := p.Append(nil, v5), wire(t, c.header)
		if !bytes.HasPrefix(b, header) || len(b) != len(header)+c.rest || p.Size(v5) != len(b) {
			t.Errorf("%d: header % x, %d bytes, Size %d; want header % x", c.rest, b[:5], len(b), p.Size(v5), header)
		}
		d := packet.Decoder{Version: v5}
		if got := one(t, &d, b).(*packet.Publish); len(got.Payload) != len(p.Payload) {
			t.Errorf("%d: a payload of %d bytes is read as %d", c.rest, len(p.Payload), len(got.Payload))
		}
		// The same through the writer of all other packets.
		s := packet.Suback{ID: 1, Codes: make([]packet.ReasonCode, c.rest-3)}
		header[0] = byte(packet.SUBACK) << 4
		if b := s.Append(nil, v5); !bytes.HasPrefix(b, header) || len(b) != s.Size(v5) {
			t.Errorf("%d: SUBACK has header % x", c.rest, b[:5])
		}
	}
}

func TestFieldsOf65535BytesAreWritten(t *testing.T) {
	longest := strings.Repeat("x", 65535)
	for _, p := range []packet.Packet{
		&packet.Connect{Version: v5, ClientID: longest, PasswordFlag: true, Password: []byte(longest)},
		&packet.Publish{Topic: []byte(longest), Payload: []byte{},
			Properties: packet.Properties{Has: packet.HasCorrelationData, CorrelationData: []byte(longest)}},
	} {
		d := packet.Decoder{Role: packet.Either, Version: v5}
		if got := one(t, &d, p.Append(nil, v5)); !reflect.DeepEqual(got, p) {
			t.Errorf("%v changed on its way", p.Type())
		}
	}
}

func TestInfoIsEasilyCleared(t *testing.T) {
	p := packet.Ack{Kind: packet.PUBACK, ID: 1, Code: packet.QuotaExceeded, Info: packet.Info{ReasonString: "the queue is full"}}
	if full := p.Size(v5); full != 26 {
		t.Errorf("with reason: %d bytes, want 26", full)
	}
	p.Info = packet.Info{}
	if got, want := p.Append(nil, v5), wire(t, `40 [0001 97]`); !bytes.Equal(got, want) {
		t.Errorf("without: % x, want % x", got, want)
	}
}

func TestEveryNumberHasAName(t *testing.T) {
	for typ := packet.CONNECT; typ <= packet.AUTH; typ++ {
		if s := typ.String(); s == "" || s != strings.ToUpper(s) || strings.ContainsAny(s, " 0123456789") {
			t.Errorf("type %d is called %q", typ, s)
		}
	}
	if packet.UNSUBSCRIBE.String() != "UNSUBSCRIBE" || packet.AUTH.String() != "AUTH" || packet.Type(16).String() != "type 16" {
		t.Error("a type has another's name")
	}
	names := map[string]bool{}
	for c := range 256 {
		s := packet.ReasonCode(c).String()
		if s == "" || names[s] {
			t.Errorf("reason code 0x%02X is called %q", c, s)
		}
		names[s] = true
	}
	if packet.V5.String() != "5.0" || packet.V311.String() != "3.1.1" || packet.V31.String() != "3.1" || packet.Version(9).String() != "level 9" {
		t.Error("a version has another's name")
	}
}
