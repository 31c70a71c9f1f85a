package packet_test

import (
	"strings"
	"testing"

	"edgegateway/broker/packet"
)

const (
	malformed = packet.MalformedPacket
	protocol  = packet.ProtocolError
	badName   = packet.TopicNameInvalid
	badFilter = packet.TopicFilterInvalid
	badLevel  = packet.UnsupportedProtocolVersion
)

// refused are packets that must be refused with the code.
var refused = []struct {
	name string
	role packet.Role
	v    packet.Version // 0: no CONNECT yet
	wire string
	code packet.ReasonCode
}{
	// The fixed header.
	{"type 0", server, v5, `00 []`, malformed}, // [MQTT-4.13.1-1]
	{"type 15 in 3.1.1", server, v311, `f0 []`, malformed},
	{"remaining length of five bytes", server, v5, `c0 8080808001`, malformed},                                          // [MQTT-4.13.1-1]
	{"remaining length of four bytes that all go on", server, v311, `c0 ffffffff`, malformed},                           // [v3 MQTT-4.8.0-1]
	{"5 remaining length longer than it needs to be", server, v5, `c0 8000`, malformed},                                 // [MQTT-1.5.5-1]
	{"5 connect with a longer remaining length than it needs", server, 0, `10 8d00 "MQTT" 05 02 003c [] ""`, malformed}, // [MQTT-1.5.5-1]
	{"connect flags", server, 0, `11 ["MQTT" 04 02 003c "c"]`, malformed},                                               // [v3 MQTT-2.2.2-1] [v3 MQTT-2.2.2-2] [v3 MQTT-3.1.4-1]
	{"connack flags", client, v311, `21 [00 00]`, malformed},                                                            // [v3 MQTT-2.2.2-2]
	{"puback flags", server, v311, `42 [0001]`, malformed},                                                              // [v3 MQTT-2.2.2-1] [v3 MQTT-2.2.2-2]
	{"pubrec flags", server, v5, `58 [0001]`, malformed},                                                                // [MQTT-2.1.3-1]
	{"pubrel flags", server, v311, `60 [0001]`, malformed},                                                              // [v3 MQTT-3.6.1-1]
	{"pubrel marked as duplicate in 3.1.1", server, v311, `6a [0001]`, malformed},                                       // [v3 MQTT-3.6.1-1]
	{"3.1 pubrel of QoS 2", server, v31, `64 [0001]`, malformed},
	{"pubcomp flags", server, v5, `71 [0001]`, malformed},                 // [MQTT-2.1.3-1]
	{"subscribe flags", server, v311, `80 [0001 "a" 00]`, malformed},      // [v3 MQTT-3.8.1-1]
	{"5 subscribe flags", server, v5, `80 [0001 [] "a" 00]`, malformed},   // [MQTT-3.8.1-1]
	{"3.1.1 unsubscribe flags", server, v311, `a0 [0001 "a"]`, malformed}, // [v3 MQTT-3.10.1-1]
	{"5 pubrel flags", server, v5, `60 [0001]`, malformed},                // [MQTT-3.6.1-1]
	{"3.1.1 disconnect flags", server, v311, `e1 []`, malformed},          // [v3 MQTT-3.14.1-1]
	{"suback flags", client, v5, `92 [0001 [] 00]`, malformed},
	{"unsubscribe flags", server, v5, `a0 [0001 [] "a"]`, malformed}, // [MQTT-3.10.1-1] [MQTT-2.1.3-1]
	{"unsuback flags", client, v311, `b2 [0001]`, malformed},         // [v3 MQTT-2.2.2-1]
	{"pingreq flags", server, v311, `c8 []`, malformed},              // [v3 MQTT-2.2.2-2]
	{"pingresp flags", client, v311, `d1 []`, malformed},
	{"disconnect flags", server, v5, `e1 []`, malformed},      // [MQTT-3.14.1-1]
	{"auth flags", server, v5, `f2 [18 [15 "M"]]`, malformed}, // [MQTT-3.15.1-1]

	// Who may send what, and when.
	{"publish before connect", server, 0, `30 ["a"]`, protocol}, // [MQTT-3.1.0-1] [v3 MQTT-3.1.0-1]
	{"pingreq before connect", server, 0, `c0 []`, protocol},    // [MQTT-3.1.0-1] [v3 MQTT-3.1.0-1]
	{"type 0 before connect", server, 0, `00`, protocol},
	{"web browser before connect", server, 0, `474554202f20485454502f312e310d0a`, protocol},
	{"connect twice", server, v5, `10 ["MQTT" 05 02 003c [] "c"]`, protocol},      // [MQTT-3.1.0-2]
	{"3.1.1 connect twice", server, v311, `10 ["MQTT" 04 02 003c "c"]`, protocol}, // [v3 MQTT-3.1.0-2]
	{"connack to a server", server, v311, `20 [00 00]`, protocol},
	{"suback to a server", server, v5, `90 [0001 [] 00]`, protocol},
	{"unsuback to a server", server, v5, `b0 [0001 [] 00]`, protocol},
	{"pingresp to a server", server, v311, `d0 []`, protocol},
	{"connect to a client", client, v311, `10 ["MQTT" 04 02 003c "c"]`, protocol},
	{"subscribe to a client", client, v311, `82 [0001 "a" 00]`, protocol},
	{"unsubscribe to a client", client, v5, `a2 [0001 [] "a"]`, protocol},
	{"pingreq to a client", client, v5, `c0 []`, protocol},
	{"3.1.1 disconnect to a client", client, v311, `e0 []`, protocol},

	// CONNECT.
	{"unknown protocol name", server, 0, `10 ["HTTP" 04 02 003c "c"]`, badLevel},       // [MQTT-3.1.2-1] [v3 MQTT-3.1.2-1]
	{"protocol name in lower case", server, 0, `10 ["mqtt" 04 02 003c "c"]`, badLevel}, // [MQTT-3.1.2-1] [v3 MQTT-3.1.2-1]
	{"empty protocol name", server, 0, `10 ["" 04 02 003c "c"]`, badLevel},
	{"level 6", server, 0, `10 ["MQTT" 06 02 003c [] "c"]`, badLevel}, // [MQTT-3.1.2-2]
	{"level 0", server, 0, `10 ["MQTT" 00 02 003c "c"]`, badLevel},    // [v3 MQTT-3.1.2-2]
	{"level 3 by the name MQTT", server, 0, `10 ["MQTT" 03 02 003c "c"]`, badLevel},
	{"level 4 by the name MQIsdp", server, 0, `10 ["MQIsdp" 04 02 003c "c"]`, badLevel},
	{"level of a bridge's private variant", server, 0, `10 ["MQTT" 84 02 003c "c"]`, badLevel},
	{"empty connect", server, 0, `10 []`, malformed},
	{"3.1.1 reserved connect flag", server, 0, `10 ["MQTT" 04 03 003c "c"]`, malformed},        // [v3 MQTT-3.1.2-3] [v3 MQTT-3.1.4-1]
	{"5 reserved connect flag", server, 0, `10 ["MQTT" 05 03 003c [] "c"]`, malformed},         // [MQTT-3.1.2-3] [MQTT-3.1.4-1]
	{"will QoS without will", server, 0, `10 ["MQTT" 04 0a 003c "c"]`, malformed},              // [v3 MQTT-3.1.2-11] [v3 MQTT-3.1.2-13]
	{"5 will QoS without will", server, 0, `10 ["MQTT" 05 0a 003c [] "c"]`, malformed},         // [MQTT-3.1.2-11]
	{"3.1.1 will retain without will", server, 0, `10 ["MQTT" 04 22 003c "c"]`, malformed},     // [v3 MQTT-3.1.2-11] [v3 MQTT-3.1.2-15]
	{"will that is not announced", server, 0, `10 ["MQTT" 04 02 003c "c" "w" "p"]`, malformed}, // [v3 MQTT-3.1.2-11]
	{"5 will QoS 3", server, 0, `10 ["MQTT" 05 1e 003c [] "c" [] "w" "p"]`, malformed},         // [MQTT-3.1.2-12]
	{"will retain without will", server, 0, `10 ["MQTT" 05 22 003c [] "c"]`, malformed},        // [MQTT-3.1.2-13]
	{"will QoS 3", server, 0, `10 ["MQTT" 04 1e 003c "c" "w" "p"]`, malformed},                 // [v3 MQTT-3.1.2-14]
	{"will QoS 3 in 3.1", server, 0, `10 ["MQIsdp" 03 1e 003c "c" "w" "p"]`, malformed},
	{"3.1.1 password without name", server, 0, `10 ["MQTT" 04 42 003c "c" "p"]`, malformed}, // [v3 MQTT-3.1.2-22]
	{"3.1 password without name", server, 0, `10 ["MQIsdp" 03 42 003c "c" "p"]`, malformed},
	{"no client identifier", server, 0, `10 ["MQTT" 04 02 003c]`, malformed},                              // [v3 MQTT-3.1.3-3]
	{"5 no client identifier", server, 0, `10 ["MQTT" 05 02 003c []]`, malformed},                         // [MQTT-3.1.3-3]
	{"announced will is missing", server, 0, `10 ["MQTT" 04 06 003c "c"]`, malformed},                     // [v3 MQTT-3.1.2-9]
	{"announced will payload is missing", server, 0, `10 ["MQTT" 04 06 003c "c" "w"]`, malformed},         // [v3 MQTT-3.1.2-9]
	{"5 announced will is missing", server, 0, `10 ["MQTT" 05 06 003c [] "c"]`, malformed},                // [MQTT-3.1.2-9]
	{"5 announced will payload is missing", server, 0, `10 ["MQTT" 05 06 003c [] "c" [] "w"]`, malformed}, // [MQTT-3.1.2-9]
	{"5 announced name is missing", server, 0, `10 ["MQTT" 05 82 003c [] "c"]`, malformed},                // [MQTT-3.1.2-17]
	{"3.1.1 announced password is missing", server, 0, `10 ["MQTT" 04 c2 003c "c" "u"]`, malformed},       // [v3 MQTT-3.1.2-21]
	{"password that is not announced", server, 0, `10 ["MQTT" 04 82 003c "c" "u" "p"]`, malformed},        // [v3 MQTT-3.1.2-20]
	{"5 name that is not announced", server, 0, `10 ["MQTT" 05 02 003c [] "c" "u"]`, malformed},           // [MQTT-3.1.2-16]
	{"5 password that is not announced", server, 0, `10 ["MQTT" 05 82 003c [] "c" "u" "p"]`, malformed},   // [MQTT-3.1.2-18]
	{"announced name is missing", server, 0, `10 ["MQTT" 04 82 003c "c"]`, malformed},                     // [v3 MQTT-3.1.2-19]
	{"announced password is missing", server, 0, `10 ["MQTT" 05 c2 003c [] "c" "u"]`, malformed},          // [MQTT-3.1.2-19]
	{"name that is not announced", server, 0, `10 ["MQTT" 04 02 003c "c" "u"]`, malformed},                // [v3 MQTT-3.1.2-18]
	{"connect with bytes behind", server, 0, `10 ["MQTT" 05 02 003c [] "c" 00]`, malformed},
	{"client identifier with NUL", server, 0, `10 ["MQTT" 04 02 003c 0003 610062]`, malformed},         // [v3 MQTT-1.5.3-2] [v3 MQTT-3.1.3-4]
	{"client identifier with a surrogate", server, 0, `10 ["MQTT" 04 02 003c 0003 eda080]`, malformed}, // [v3 MQTT-1.5.3-1] [v3 MQTT-3.1.3-4]
	{"client identifier longer than the packet", server, 0, `10 ["MQTT" 04 02 003c 0005 6162]`, malformed},
	{"user name with NUL", server, 0, `10 ["MQTT" 04 82 003c "c" 0001 00]`, malformed},                       // [v3 MQTT-1.5.3-2] [v3 MQTT-3.1.3-11]
	{"user name that is not UTF-8", server, 0, `10 ["MQTT" 04 82 003c "c" 0001 ff]`, malformed},              // [v3 MQTT-1.5.3-1] [v3 MQTT-3.1.3-11]
	{"5 client identifier with a surrogate", server, 0, `10 ["MQTT" 05 02 003c [] 0003 eda080]`, malformed},  // [MQTT-1.5.4-1] [MQTT-3.1.3-4]
	{"5 user name with NUL", server, 0, `10 ["MQTT" 05 82 003c [] "c" 0001 00]`, malformed},                  // [MQTT-1.5.4-2] [MQTT-3.1.3-12]
	{"5 user name that is not UTF-8", server, 0, `10 ["MQTT" 05 82 003c [] "c" 0001 ff]`, malformed},         // [MQTT-3.1.3-12]
	{"5 will topic that is not UTF-8", server, 0, `10 ["MQTT" 05 06 003c [] "c" [] 0001 ff "p"]`, malformed}, // [MQTT-3.1.3-11]
	{"will topic that is overlong UTF-8", server, 0, `10 ["MQTT" 04 06 003c "c" 0002 c0af "p"]`, malformed},  // [v3 MQTT-1.5.3-1] [v3 MQTT-3.1.3-10]
	{"will topic with wildcard", server, 0, `10 ["MQTT" 04 06 003c "c" "w/+" "p"]`, badName},                 // [v3 MQTT-4.7.1-1]
	{"empty will topic", server, 0, `10 ["MQTT" 05 06 003c [] "c" [] "" "p"]`, badName},                      // [MQTT-4.7.3-1]
	{"receive maximum 0", server, 0, `10 ["MQTT" 05 02 003c [21 0000] "c"]`, protocol},
	{"maximum packet size 0", server, 0, `10 ["MQTT" 05 02 003c [27 00000000] "c"]`, protocol},
	{"request response information 2", server, 0, `10 ["MQTT" 05 02 003c [19 02] "c"]`, protocol},
	{"request problem information 2", server, 0, `10 ["MQTT" 05 02 003c [17 02] "c"]`, protocol},
	{"session expiry twice", server, 0, `10 ["MQTT" 05 02 003c [11 00000001 11 00000001] "c"]`, protocol},
	{"authentication data without method", server, 0, `10 ["MQTT" 05 02 003c [16 "d"] "c"]`, protocol},
	{"will property outside of the will", server, 0, `10 ["MQTT" 05 02 003c [18 00000001] "c"]`, malformed},
	{"will delay twice", server, 0, `10 ["MQTT" 05 06 003c [] "c" [18 00000001 18 00000001] "w" "p"]`, protocol},
	{"topic alias in a will", server, 0, `10 ["MQTT" 05 06 003c [] "c" [23 0001] "w" "p"]`, malformed},
	{"will payload format 2", server, 0, `10 ["MQTT" 05 06 003c [] "c" [01 02] "w" "p"]`, protocol},
	{"5 connect without properties", server, 0, `10 ["MQTT" 05 02 003c]`, malformed},
	{"5 connect whose properties are longer than it is", server, 0, `10 ["MQTT" 05 02 003c 7f "c"]`, malformed},
	{"user property without value", server, 0, `10 ["MQTT" 05 02 003c [26 "k"] "c"]`, malformed},

	// CONNACK.
	{"connack of one byte", client, v311, `20 [00]`, malformed},
	{"connack with bytes behind", client, v311, `20 [00 00 00]`, malformed},
	{"connack reserved flags", client, v311, `20 [02 00]`, malformed}, // [v3 MQTT-2.2.2-1]
	{"3.1.1 connack return code 6", client, v311, `20 [00 06]`, protocol},
	{"3.1.1 connack refused with session", client, v311, `20 [01 05]`, protocol}, // [v3 MQTT-3.2.2-4]
	{"5 connack refused with session", client, v5, `20 [01 87 []]`, protocol},    // [MQTT-3.2.2-6]
	{"5 connack of 3.1.1", client, v5, `20 [00 05 []]`, protocol},                // [MQTT-3.2.2-8]
	{"5 connack code that is not for it", client, v5, `20 [00 8e []]`, protocol}, // [MQTT-3.2.2-8]
	{"5 connack without properties", client, v5, `20 [00 00]`, malformed},
	{"maximum QoS 2", client, v5, `20 [00 00 [24 02]]`, protocol},
	{"retain available 2", client, v5, `20 [00 00 [25 02]]`, protocol},
	{"wildcard available 2", client, v5, `20 [00 00 [28 02]]`, protocol},
	{"connack receive maximum 0", client, v5, `20 [00 00 [21 0000]]`, protocol},
	{"connack authentication data without method", client, v5, `20 [00 00 [16 "d"]]`, protocol},
	{"property of connect in connack", client, v5, `20 [00 00 [19 01]]`, malformed},

	// PUBLISH.
	{"QoS 3", server, v311, `36 ["a" 0001]`, malformed},                        // [v3 MQTT-3.3.1-4]
	{"5 QoS 3", server, v5, `36 ["a" 0001 []]`, malformed},                     // [MQTT-3.3.1-4]
	{"DUP at QoS 0", server, v311, `38 ["a"]`, malformed},                      // [v3 MQTT-3.3.1-2]
	{"packet identifier 0 at QoS 1", server, v311, `32 ["a" 0000]`, protocol},  // [v3 MQTT-2.3.1-1]
	{"packet identifier 0 at QoS 2", server, v5, `34 ["a" 0000 []]`, protocol}, // [MQTT-2.2.1-3]
	{"no packet identifier", server, v311, `32 ["a"]`, malformed},              // [v3 MQTT-2.3.1-1]
	{"half a packet identifier", server, v311, `32 ["a" 00]`, malformed},
	{"empty publish", server, v311, `30 []`, malformed}, // [v3 MQTT-3.3.2-1]
	{"half a topic length", server, v311, `30 [00]`, malformed},
	{"topic longer than the packet", server, v5, `30 [0005 61 00]`, malformed}, // [MQTT-3.3.2-1]
	{"3.1.1 empty topic", server, v311, `30 ["" 68]`, badName},                 // [v3 MQTT-4.7.3-1]
	{"3.1.1 empty topic and nothing else", server, v311, `30 [""]`, badName},
	{"5 empty topic without alias", server, v5, `30 ["" [] 68]`, protocol},   // [MQTT-4.7.3-1]
	{"topic with +", server, v311, `30 ["a/+"]`, badName},                    // [v3 MQTT-3.3.2-2] [v3 MQTT-4.7.1-1]
	{"topic with #", server, v5, `30 ["#" []]`, badName},                     // [MQTT-3.3.2-2] [MQTT-4.7.0-1]
	{"topic with NUL", server, v311, `30 [0003 610062]`, malformed},          // [v3 MQTT-1.5.3-2] [v3 MQTT-4.7.3-2]
	{"5 topic with NUL", server, v5, `30 [0001 00 []]`, malformed},           // [MQTT-1.5.4-2] [MQTT-4.7.3-2]
	{"5 topic that is not UTF-8", server, v5, `30 [0001 ff []]`, malformed},  // [MQTT-1.5.4-1] [MQTT-3.3.2-1]
	{"topic with a surrogate", server, v311, `30 [0003 eda080]`, malformed},  // [v3 MQTT-1.5.3-1] [v3 MQTT-3.3.2-1]
	{"topic with overlong UTF-8", server, v311, `30 [0002 c080]`, malformed}, // [v3 MQTT-1.5.3-1]
	{"topic with UTF-8 beyond U+10FFFF", server, v311, `30 [0004 f4908080]`, malformed},
	{"topic of a lone continuation byte", server, v311, `30 [0001 80]`, malformed},
	{"topic cut inside a character", server, v311, `30 [0002 e282 ac]`, malformed},
	{"5 publish without properties", server, v5, `30 ["a"]`, malformed}, // [MQTT-2.2.2-1]
	{"5 property length of five bytes", server, v5, `30 ["a" 8080808001]`, malformed},
	{"5 property length longer than it needs to be", server, v5, `30 ["a" 8000]`, malformed}, // [MQTT-1.5.5-1]
	{"5 property length cut", server, v5, `30 ["a" 80]`, malformed},
	{"properties longer than the packet", server, v5, `30 ["a" 02 01]`, malformed},
	{"property cut in its value", server, v5, `30 ["a" 03 02 0000 0000]`, malformed},
	{"property without a value", server, v5, `30 ["a" [01]]`, malformed},
	{"unknown property", server, v5, `30 ["a" [04 00]]`, malformed},
	{"property identifier 0", server, v5, `30 ["a" [00]]`, malformed},
	{"property identifier of two bytes", server, v5, `30 ["a" [8100 00]]`, malformed},
	{"property of connect in publish", server, v5, `30 ["a" [11 00000001]]`, malformed},
	{"payload format 2", server, v5, `30 ["a" [01 02]]`, protocol},
	{"payload format twice", server, v5, `30 ["a" [01 00 01 00]]`, protocol},
	{"message expiry twice", server, v5, `30 ["a" [02 00000001 02 00000001]]`, protocol},
	{"content type twice", server, v5, `30 ["a" [03 "t" 03 "t"]]`, protocol},
	{"response topic twice", server, v5, `30 ["a" [08 "t" 08 "t"]]`, protocol},
	{"correlation data twice", server, v5, `30 ["a" [09 "t" 09 "t"]]`, protocol},
	{"topic alias twice", server, v5, `30 ["a" [23 0001 23 0001]]`, protocol},
	{"topic alias 0", server, v5, `30 ["a" [23 0000]]`, packet.TopicAliasInvalid}, // [MQTT-3.3.2-8]
	{"response topic with wildcard", server, v5, `30 ["a" [08 "r/#"]]`, protocol}, // [MQTT-3.3.2-14]
	{"empty response topic", server, v5, `30 ["a" [08 ""]]`, protocol},
	{"response topic with NUL", server, v5, `30 ["a" [08 0001 00]]`, malformed},                 // [MQTT-1.5.4-2] [MQTT-3.3.2-13]
	{"response topic that is not UTF-8", server, v5, `30 ["a" [08 0001 ff]]`, malformed},        // [MQTT-3.3.2-13]
	{"content type that is not UTF-8", server, v5, `30 ["a" [03 0001 ff]]`, malformed},          // [MQTT-1.5.4-1] [MQTT-3.3.2-19]
	{"user property key that is not UTF-8", server, v5, `30 ["a" [26 0001 ff "v"]]`, malformed}, // [MQTT-1.5.7-1] [MQTT-1.5.4-1]
	{"user property value with NUL", server, v5, `30 ["a" [26 "k" 0001 00]]`, malformed},        // [MQTT-1.5.7-1] [MQTT-1.5.4-2]
	{"subscription identifier from a client", server, v5, `30 ["a" [0b 01]]`, protocol},         // [MQTT-3.3.4-6]
	{"subscription identifier 0", client, v5, `30 ["a" [0b 00]]`, protocol},
	{"subscription identifier of five bytes", client, v5, `30 ["a" [0b 8080808001]]`, malformed},
	{"subscription identifier cut", client, v5, `30 ["a" [0b 80]]`, malformed},
	{"subscription identifier longer than it needs to be", client, v5, `30 ["a" [0b 8100]]`, malformed}, // [MQTT-1.5.5-1]

	// PUBACK, PUBREC, PUBREL, PUBCOMP.
	{"puback of identifier 0", server, v311, `40 [0000]`, protocol},
	{"pubrec of identifier 0", server, v5, `50 [0000]`, protocol},
	{"pubrel of identifier 0", server, v311, `62 [0000]`, protocol},
	{"pubcomp of identifier 0", server, v311, `70 [0000]`, protocol},
	{"puback of one byte", server, v311, `40 [00]`, malformed},
	{"empty pubrel", server, v311, `62 []`, malformed},
	{"3.1.1 puback with bytes behind", server, v311, `40 [0001 00]`, malformed},
	{"5 puback with bytes behind", server, v5, `40 [0001 00 [] 00]`, malformed},
	{"puback code of pubrel", server, v5, `40 [0001 92]`, protocol},  // [MQTT-3.4.2-1]
	{"puback unknown code", server, v5, `40 [0001 7f]`, protocol},    // [MQTT-3.4.2-1]
	{"pubrec unknown code", server, v5, `50 [0001 01]`, protocol},    // [MQTT-3.5.2-1]
	{"pubrel code of puback", server, v5, `62 [0001 10]`, protocol},  // [MQTT-3.6.2-1]
	{"pubcomp code of puback", server, v5, `70 [0001 80]`, protocol}, // [MQTT-3.7.2-1]
	{"reason string twice", server, v5, `40 [0001 00 [1f "a" 1f "b"]]`, protocol},
	{"property of publish in puback", server, v5, `40 [0001 00 [01 00]]`, malformed},

	// SUBSCRIBE and UNSUBSCRIBE.
	{"subscribe without filter", server, v311, `82 [0001]`, protocol},    // [v3 MQTT-3.8.3-3]
	{"5 subscribe without filter", server, v5, `82 [0001 []]`, protocol}, // [MQTT-3.8.3-2]
	{"subscribe without identifier", server, v311, `82 []`, malformed},
	{"subscribe identifier 0", server, v311, `82 [0000 "a" 00]`, protocol},            // [v3 MQTT-2.3.1-1]
	{"subscribe cut before its options", server, v311, `82 [0001 "a"]`, malformed},    // [v3 MQTT-3.8.3-3]
	{"5 subscribe cut before its options", server, v5, `82 [0001 [] "a"]`, malformed}, // [MQTT-3.8.3-2]
	{"second filter cut", server, v311, `82 [0001 "a" 00 0003 61]`, malformed},
	{"empty filter", server, v311, `82 [0001 "" 00]`, badFilter},         // [v3 MQTT-4.7.3-1]
	{"filter a#", server, v311, `82 [0001 "a#" 00]`, badFilter},          // [v3 MQTT-4.7.1-2]
	{"filter #/x", server, v5, `82 [0001 [] "#/x" 00]`, badFilter},       // [MQTT-4.7.1-1]
	{"filter a/#/b", server, v311, `82 [0001 "a/#/b" 00]`, badFilter},    // [v3 MQTT-4.7.1-2]
	{"filter a+", server, v311, `82 [0001 "a+" 00]`, badFilter},          // [v3 MQTT-4.7.1-3]
	{"filter +a/b", server, v311, `82 [0001 "+a/b" 00]`, badFilter},      // [v3 MQTT-4.7.1-3]
	{"filter a/b+/c", server, v5, `82 [0001 [] "a/b+/c" 00]`, badFilter}, // [MQTT-4.7.1-2]
	{"filter ##", server, v311, `82 [0001 "##" 00]`, badFilter},
	{"filter with NUL", server, v311, `82 [0001 0001 00 00]`, malformed},             // [v3 MQTT-1.5.3-2] [v3 MQTT-4.7.3-2]
	{"filter that is not UTF-8", server, v311, `82 [0001 0001 80 00]`, malformed},    // [v3 MQTT-1.5.3-1] [v3 MQTT-3.8.3-1]
	{"5 filter that is not UTF-8", server, v5, `82 [0001 [] 0001 80 00]`, malformed}, // [MQTT-3.8.3-1]
	{"5 filter with NUL", server, v5, `82 [0001 [] 0001 00 00]`, malformed},          // [MQTT-4.7.3-2]
	{"5 empty filter", server, v5, `82 [0001 [] "" 00]`, badFilter},                  // [MQTT-4.7.3-1]
	{"5 filter a+", server, v5, `82 [0001 [] "a+" 00]`, badFilter},                   // [MQTT-4.7.1-2]
	{"5 subscribe identifier 0", server, v5, `82 [0000 [] "a" 00]`, protocol},        // [MQTT-2.2.1-3]
	{"5 subscribe with bytes behind", server, v5, `82 [0001 [] "a" 00 00]`, malformed},
	{"3.1.1 subscribe with bytes behind", server, v311, `82 [0001 "a" 00 00]`, malformed},
	{"3.1.1 requested QoS 3", server, v311, `82 [0001 "a" 03]`, malformed},  // [v3 MQTT-3.8.3-4]
	{"3.1.1 reserved options", server, v311, `82 [0001 "a" 04]`, malformed}, // [v3 MQTT-3.8.3-4]
	{"3.1 requested QoS 3", server, v31, `82 [0001 "a" 03]`, malformed},
	{"5 maximum QoS 3", server, v5, `82 [0001 [] "a" 03]`, protocol},
	{"5 reserved option 6", server, v5, `82 [0001 [] "a" 40]`, malformed}, // [MQTT-3.8.3-5]
	{"5 reserved option 7", server, v5, `82 [0001 [] "a" 80]`, malformed}, // [MQTT-3.8.3-5]
	{"retain handling 3", server, v5, `82 [0001 [] "a" 30]`, protocol},
	{"no local on a shared subscription", server, v5, `82 [0001 [] "$share/g/a" 04]`, protocol}, // [MQTT-3.8.3-4]
	{"empty share name", server, v5, `82 [0001 [] "$share//a" 00]`, badFilter},                  // [MQTT-4.8.2-1]
	{"wildcard share name", server, v5, `82 [0001 [] "$share/+/a" 00]`, badFilter},              // [MQTT-4.8.2-2]
	{"share without filter", server, v5, `82 [0001 [] "$share/g" 00]`, badFilter},               // [MQTT-4.8.2-2]
	{"share with an empty filter", server, v5, `82 [0001 [] "$share/g/" 00]`, badFilter},        // [MQTT-4.8.2-2]
	{"subscription identifier 0 in subscribe", server, v5, `82 [0001 [0b 00] "a" 00]`, protocol},
	{"subscription identifier twice", server, v5, `82 [0001 [0b 01 0b 02] "a" 00]`, protocol},
	{"reason string in subscribe", server, v5, `82 [0001 [1f "r"] "a" 00]`, malformed},
	{"unsubscribe without filter", server, v311, `a2 [0001]`, protocol},                         // [v3 MQTT-3.10.3-2]
	{"5 unsubscribe without filter", server, v5, `a2 [0001 []]`, protocol},                      // [MQTT-3.10.3-2]
	{"unsubscribe identifier 0", server, v5, `a2 [0000 [] "a"]`, protocol},                      // [MQTT-2.2.1-3]
	{"3.1.1 unsubscribe identifier 0", server, v311, `a2 [0000 "a"]`, protocol},                 // [v3 MQTT-2.3.1-1]
	{"unsubscribe a filter that is not UTF-8", server, v311, `a2 [0001 0001 ff]`, malformed},    // [v3 MQTT-3.10.3-1]
	{"5 unsubscribe a filter that is not UTF-8", server, v5, `a2 [0001 [] 0001 ff]`, malformed}, // [MQTT-3.10.3-1]
	{"unsubscribe cut in a filter", server, v311, `a2 [0001 0002 61]`, malformed},
	{"unsubscribe an empty filter", server, v311, `a2 [0001 ""]`, badFilter}, // [v3 MQTT-4.7.3-1]
	{"unsubscribe a+", server, v5, `a2 [0001 [] "a+"]`, badFilter},
	{"unsubscribe an empty share name", server, v5, `a2 [0001 [] "$share//a"]`, badFilter},
	{"subscription identifier in unsubscribe", server, v5, `a2 [0001 [0b 01] "a"]`, malformed},

	// SUBACK and UNSUBACK.
	{"suback without codes", client, v311, `90 [0001]`, protocol},
	{"suback identifier 0", client, v311, `90 [0000 00]`, protocol},
	{"3.1.1 suback code 3", client, v311, `90 [0001 03]`, protocol},    // [v3 MQTT-3.9.3-2]
	{"3.1.1 suback code of 5", client, v311, `90 [0001 87]`, protocol}, // [v3 MQTT-3.9.3-2]
	{"5 suback unknown code", client, v5, `90 [0001 [] 03]`, protocol}, // [MQTT-3.9.3-2]
	{"3.1.1 unsuback with bytes behind", client, v311, `b0 [0001 00]`, malformed},
	{"5 unsuback without codes", client, v5, `b0 [0001 []]`, protocol},
	{"5 unsuback unknown code", client, v5, `b0 [0001 [] 01]`, protocol}, // [MQTT-3.11.3-2]

	// PINGREQ, PINGRESP, DISCONNECT, AUTH.
	{"pingreq with a body", server, v311, `c0 [00]`, malformed},
	{"pingresp with a body", client, v5, `d0 [00]`, malformed},
	{"3.1.1 disconnect with a body", server, v311, `e0 [00]`, malformed},          // [v3 MQTT-4.8.0-1]
	{"disconnect unknown code", server, v5, `e0 [01]`, protocol},                  // [MQTT-3.14.2-1]
	{"disconnect code of a server, by a client", server, v5, `e0 [8e]`, protocol}, // [MQTT-3.14.2-1]
	{"disconnect code of a client, by a server", client, v5, `e0 [04]`, protocol},
	{"session expiry by a server", client, v5, `e0 [00 [11 00000001]]`, protocol}, // [MQTT-3.14.2-2]
	{"session expiry twice in disconnect", server, v5, `e0 [00 [11 00000001 11 00000001]]`, protocol},
	{"disconnect with bytes behind", server, v5, `e0 [00 [] 00]`, malformed},
	{"will delay in disconnect", server, v5, `e0 [00 [18 00000001]]`, malformed},
	{"auth without method", server, v5, `f0 [18 []]`, protocol},
	{"auth of one byte", server, v5, `f0 [18]`, malformed},
	{"auth unknown code", server, v5, `f0 [01 [15 "M"]]`, protocol}, // [MQTT-3.15.2-1]
	{"auth success by a client", server, v5, `f0 []`, protocol},     // [MQTT-3.15.2-1] [MQTT-4.12.0-3]
	{"re-authenticate by a server", client, v5, `f0 [19 [15 "M"]]`, protocol},
	{"authentication method twice", server, v5, `f0 [18 [15 "M" 15 "M"]]`, protocol},
	{"auth with bytes behind", server, v5, `f0 [18 [15 "M"] 00]`, malformed},
}

func TestEveryFaultIsRefusedWithItsCode(t *testing.T) {
	names := map[string]bool{}
	for _, c := range refused {
		if names[c.name] {
			t.Errorf("two cases are called %q", c.name)
		}
		names[c.name] = true
		t.Run(c.name, func(t *testing.T) {
			b := wire(t, c.wire)
			e := refusal(t, &packet.Decoder{Role: c.role, Version: c.v}, b)
			if e.Code != c.code {
				t.Errorf("% x: %v\nwant code 0x%02X", b, e, byte(c.code))
			}
			if e.Packet != packet.Type(b[0]>>4) {
				t.Errorf("the error names %v, the packet is %v", e.Packet, packet.Type(b[0]>>4))
			}
			if text := e.Error(); !strings.HasPrefix(text, "refuse "+e.Packet.String()+": ") || !strings.Contains(text, e.Reason) {
				t.Errorf("the error reads %q", text)
			}
		})
	}
}

// A role that takes both sides still knows what each of them may not say.
func TestEitherRefusesWhatNoSideMaySend(t *testing.T) {
	for _, s := range []string{`e0 [01]`, `f0 [01 [15 "M"]]`, `00 []`, `30 ["" []]`} {
		refusal(t, &packet.Decoder{Role: packet.Either, Version: v5}, wire(t, s))
	}
	for _, s := range []string{`e0 [04]`, `e0 [8e]`, `30 ["a" [0b 01]]`, `20 [00 00 []]`, `c0 []`} {
		one(t, &packet.Decoder{Role: packet.Either, Version: v5}, wire(t, s))
	}
}

func TestAnUnsupportedLevelSaysInWhichVersionToAnswer(t *testing.T) {
	for _, c := range []struct {
		name, wire string
		want       packet.Version
	}{
		{"older than all", `10 ["MQTT" 02 02 003c "c"]`, v311},
		{"level 3 by another name", `10 ["MQTT" 03 02 003c "c"]`, v311},
		{"level 5 by the name of 3.1", `10 ["MQIsdp" 05 02 003c "c"]`, v311},
		{"newer than all", `10 ["MQTT" 07 02 003c [] "c"]`, v5},
		{"private bridge variant of 3.1.1", `10 ["MQTT" 84 02 003c "c"]`, v311},
		{"private bridge variant of 5", `10 ["MQTT" 85 02 003c [] "c"]`, v5},
		{"no MQTT", `10 ["AMQP" 04 02 003c "c"]`, 0},
		{"no string", `10 [0009 4d51]`, 0},
		{"malformed 5", `10 ["MQTT" 05 03 003c [] "c"]`, v5},
		{"malformed 3.1.1", `10 ["MQTT" 04 03 003c "c"]`, v311},
		{"no connect", `c0 []`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if e := refusal(t, new(packet.Decoder), wire(t, c.wire)); e.Version != c.want {
				t.Errorf("answer in %v, want %v (%v)", e.Version, c.want, e)
			}
		})
	}
	if e := refusal(t, &packet.Decoder{Version: v5}, wire(t, `00 []`)); e.Version != v5 {
		t.Errorf("after CONNECT: answer in %v, want 5.0", e.Version)
	}
}
