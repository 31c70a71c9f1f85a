package brokertest

import (
	"slices"

	"edgegateway/broker/packet"
)

// fault is bytes of a client that is connected, which have to end its connection:
// what a decoder gets wrong most easily, seen from outside. The tables of package
// packet hold all others.
type fault struct {
	name     string
	versions []packet.Version
	bytes    string
	codes    []packet.ReasonCode // of the DISCONNECT of MQTT 5
}

var (
	only3 = []packet.Version{packet.V31, packet.V311}
	only4 = []packet.Version{packet.V311}
	only5 = []packet.Version{packet.V5}
	all   = []packet.Version{packet.V31, packet.V311, packet.V5}

	malformed     = []packet.ReasonCode{packet.MalformedPacket}
	protocolError = []packet.ReasonCode{packet.ProtocolError}
	// Where the standard calls it malformed in one place and a protocol error in
	// another, or has a code of its own besides.
	eitherError = []packet.ReasonCode{packet.MalformedPacket, packet.ProtocolError, packet.TopicFilterInvalid, packet.TopicNameInvalid}
)

var faultList = []fault{
	{"a SUBSCRIBE cut before its options", only3, "\x82\x05\x00\x01\x00\x01a", nil},                                                                             // [v3 MQTT-4.8.0-1]
	{"a SUBSCRIBE of MQTT 5 cut before its options", only5, "\x82\x06\x00\x01\x00\x00\x01a", eitherError},                                                       // [MQTT-4.13.1-1]
	{"a SUBSCRIBE without filters", only3, "\x82\x02\x00\x01", nil},                                                                                             // [v3 MQTT-3.8.3-3]
	{"a SUBSCRIBE of MQTT 5 without filters", only5, "\x82\x03\x00\x01\x00", eitherError},                                                                       // [MQTT-3.8.3-2]
	{"a SUBSCRIBE with an empty filter", only3, "\x82\x05\x00\x01\x00\x00\x00", nil},                                                                            // [v3 MQTT-4.7.3-1]
	{"a SUBSCRIBE of MQTT 5 with an empty filter", only5, "\x82\x06\x00\x01\x00\x00\x00\x00", eitherError},                                                      // [MQTT-4.7.3-1]
	{"a SUBSCRIBE with identifier 0", only3, "\x82\x06\x00\x00\x00\x01a\x00", nil},                                                                              // [v3 MQTT-2.3.1-1]
	{"a SUBSCRIBE of MQTT 5 with identifier 0", only5, "\x82\x07\x00\x00\x00\x00\x01a\x00", eitherError},                                                        // [MQTT-2.2.1-3]
	{"a SUBSCRIBE with QoS 3", only4, "\x82\x06\x00\x01\x00\x01a\x03", nil},                                                                                     // [v3 MQTT-3.8.3-4]
	{"a SUBSCRIBE with reserved options", only4, "\x82\x06\x00\x01\x00\x01a\x80", nil},                                                                          // [v3 MQTT-3.8.3-4]
	{"a SUBSCRIBE of MQTT 5 with QoS 3", only5, "\x82\x07\x00\x01\x00\x00\x01a\x03", eitherError},                                                               // [MQTT-4.13.1-1]
	{"a SUBSCRIBE of MQTT 5 with reserved options", only5, "\x82\x07\x00\x01\x00\x00\x01a\xc0", malformed},                                                      // [MQTT-3.8.3-5]
	{"a SUBSCRIBE of MQTT 5 with Retain Handling 3", only5, "\x82\x07\x00\x01\x00\x00\x01a\x30", eitherError},                                                   // [MQTT-4.13.1-1]
	{"a SUBSCRIBE of MQTT 5 with No Local on a share", only5, "\x82\x10\x00\x01\x00\x00\x0a$share/g/a\x04", eitherError},                                        // [MQTT-3.8.3-4]
	{"a SUBSCRIBE with wrong flags", only4, "\x80\x06\x00\x01\x00\x01a\x00", nil},                                                                               // [v3 MQTT-3.8.1-1]
	{"a SUBSCRIBE of MQTT 5 with wrong flags", only5, "\x80\x07\x00\x01\x00\x00\x01a\x00", malformed},                                                           // [MQTT-3.8.1-1]
	{"an UNSUBSCRIBE without filters", only3, "\xa2\x02\x00\x01", nil},                                                                                          // [v3 MQTT-3.10.3-2]
	{"an UNSUBSCRIBE of MQTT 5 without filters", only5, "\xa2\x03\x00\x01\x00", eitherError},                                                                    // [MQTT-3.10.3-2]
	{"an UNSUBSCRIBE with an empty filter", only3, "\xa2\x04\x00\x01\x00\x00", nil},                                                                             // [v3 MQTT-4.7.3-1]
	{"an UNSUBSCRIBE with wrong flags", only4, "\xa0\x05\x00\x01\x00\x01a", nil},                                                                                // [v3 MQTT-3.10.1-1]
	{"an UNSUBSCRIBE of MQTT 5 with wrong flags", only5, "\xa0\x06\x00\x01\x00\x00\x01a", malformed},                                                            // [MQTT-3.10.1-1]
	{"a PUBLISH with QoS 3", all, "\x36\x06\x00\x01a\x00\x01\x00", eitherError},                                                                                 // [v3 MQTT-3.3.1-4] [MQTT-3.3.1-4]
	{"a PUBLISH of QoS 1 with identifier 0", all, "\x32\x06\x00\x01a\x00\x00\x00", eitherError},                                                                 // [v3 MQTT-2.3.1-1] [MQTT-2.2.1-3]
	{"a PUBLISH of QoS 0 with DUP", only4, "\x38\x04\x00\x01ax", nil},                                                                                           // [v3 MQTT-3.3.1-2]
	{"a PUBLISH of MQTT 5 of QoS 0 with DUP", only5, "\x38\x04\x00\x01a\x00", eitherError},                                                                      // [MQTT-3.3.1-2]
	{"a PUBLISH with an empty topic", only3, "\x30\x03\x00\x00x", nil},                                                                                          // [v3 MQTT-4.7.3-1]
	{"a PUBLISH with NUL in its topic", all, "\x30\x06\x00\x03a\x00b\x00", eitherError},                                                                         // [v3 MQTT-1.5.3-2] [MQTT-1.5.4-2]
	{"a PUBLISH with a surrogate in its topic", all, "\x30\x06\x00\x03\xed\xa0\x80\x00", eitherError},                                                           // [v3 MQTT-1.5.3-1] [MQTT-1.5.4-1]
	{"a PUBLISH whose topic is longer than it", all, "\x30\x04\x00\x09a\x00", eitherError},                                                                      // [v3 MQTT-4.8.0-1] [MQTT-4.13.1-1]
	{"a PUBLISH of MQTT 5 whose properties are longer than it", only5, "\x30\x05\x00\x01a\x7f\x01", eitherError},                                                // [MQTT-4.13.1-1]
	{"a PUBLISH of MQTT 5 with topic alias 0", only5, "\x30\x07\x00\x01a\x03\x23\x00\x00", []packet.ReasonCode{packet.TopicAliasInvalid, packet.ProtocolError}}, // [MQTT-3.3.2-8]
	{"a PUBLISH of MQTT 5 with a property twice", only5, "\x30\x08\x00\x01a\x04\x01\x00\x01\x00", protocolError},                                                // [MQTT-4.13.1-1]
	{"a PUBLISH of MQTT 5 with an unknown property", only5, "\x30\x06\x00\x01a\x02\x04\x00", eitherError},                                                       // [MQTT-4.13.1-1]
	{"a PUBLISH of MQTT 5 with a wildcard in its response topic", only5, "\x30\x08\x00\x01a\x04\x08\x00\x01#", eitherError},                                     // [MQTT-3.3.2-14]
	{"a PUBACK with identifier 0", all, "\x40\x02\x00\x00", eitherError},                                                                                        // [v3 MQTT-4.8.0-1] [MQTT-4.13.1-1]
	{"a PUBACK with bytes behind", only3, "\x40\x03\x00\x01\x00", nil},                                                                                          // [v3 MQTT-4.8.0-1]
	{"a PUBACK of MQTT 5 with bytes behind", only5, "\x40\x05\x00\x01\x00\x00\x00", eitherError},                                                                // [MQTT-4.13.1-1]
	{"a PUBACK of MQTT 5 with an unknown reason code", only5, "\x40\x03\x00\x01\x7f", eitherError},                                                              // [MQTT-3.4.2-1]
	{"a PUBREC of MQTT 5 with an unknown reason code", only5, "\x50\x03\x00\x01\x01", eitherError},                                                              // [MQTT-3.5.2-1]
	{"a PUBREL of MQTT 5 with an unknown reason code", only5, "\x62\x03\x00\x01\x10", eitherError},                                                              // [MQTT-3.6.2-1]
	{"a PUBCOMP of MQTT 5 with an unknown reason code", only5, "\x70\x03\x00\x01\x10", eitherError},                                                             // [MQTT-3.7.2-1]
	{"a PUBREL with wrong flags", only4, "\x60\x02\x00\x01", nil},                                                                                               // [v3 MQTT-3.6.1-1]
	{"a PUBREL of MQTT 5 with wrong flags", only5, "\x60\x02\x00\x01", malformed},                                                                               // [MQTT-3.6.1-1]
	{"a PINGREQ with wrong flags", all, "\xc1\x00", malformed},                                                                                                  // [v3 MQTT-2.2.2-2] [MQTT-2.1.3-1]
	{"a PINGREQ with a body", all, "\xc0\x01\x00", eitherError},                                                                                                 // [v3 MQTT-4.8.0-1] [MQTT-4.13.1-1]
	{"a DISCONNECT with wrong flags", only4, "\xe1\x00", nil},                                                                                                   // [v3 MQTT-3.14.1-1]
	{"a DISCONNECT of MQTT 5 with wrong flags", only5, "\xe1\x00", malformed},                                                                                   // [MQTT-3.14.1-1]
	{"a DISCONNECT of MQTT 5 with an unknown reason code", only5, "\xe0\x01\x01", eitherError},                                                                  // [MQTT-3.14.2-1]
	{"an AUTH with wrong flags", only5, "\xf1\x05\x18\x03\x15\x00\x00", eitherError},                                                                            // [MQTT-3.15.1-1]
	{"an AUTH in 3.x", only3, "\xf0\x00", nil},                                                                                                                  // [v3 MQTT-4.8.0-1]
	{"a CONNACK from a client", all, "\x20\x02\x00\x00", eitherError},                                                                                           // [v3 MQTT-4.8.0-1] [MQTT-4.13.1-1]
	{"a packet of type 0", all, "\x00\x00", eitherError},                                                                                                        // [v3 MQTT-4.8.0-1] [MQTT-4.13.1-1]
	{"a remaining length of five bytes", all, "\x30\xff\xff\xff\xff\x01", eitherError},                                                                          // [v3 MQTT-4.8.0-1] [MQTT-4.13.1-1]
}

// faults makes a case of each fault of a version: the connection ends, its will is
// published, and others are served on.
func faults(v packet.Version) (list []testCase) {
	for _, f := range faultList {
		if !slices.Contains(f.versions, v) {
			continue
		}
		list = append(list, testCase{f.name, 0, func(s *scene) {
			watch := s.clean("watch")
			s.subscribe(watch, 0, s.topic("will"))
			c, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name,
				Will: &packet.Will{Topic: s.topic("will"), Payload: []byte("gone")}})
			c.TrySend([]byte(f.bytes)).ExpectClosed(f.codes...)
			watch.Expect(s.message("will", "gone", 0)).ExpectNothing()
		}})
	}
	return list
}
