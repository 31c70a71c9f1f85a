// Package packet turns bytes into MQTT control packets and back: MQTT 3.1
// (MQIsdp, level 3), 3.1.1 (level 4) and 5.0 (level 5) in one codec with one
// struct per control packet.
//
// What it promises:
//
//   - Everything that the standards call malformed, or a protocol error, and
//     that can be seen within one packet is refused with an *Error that carries
//     the MQTT 5 reason code. What needs the history of a session (a topic alias
//     above the maximum, a PUBACK that nobody waits for) is left to the caller.
//   - Decoding never panics, never reads past the packet and never allocates by
//     what a length field promises, only by the bytes that are there.
//   - A PUBLISH without properties, and an acknowledgement without reason string
//     and user properties, is decoded and encoded without any allocation.
//   - What was accepted can be encoded, and decodes to the same again.
//
// A Decoder belongs to the one goroutine that reads a connection. Packets are
// plain values: encoding only reads them, so one packet may be encoded by
// several goroutines as long as nobody changes it.
//
// Three versions share the structs. Fields that exist in MQTT 5 alone are left
// out when a packet is written for 3.x, and are zero when it was read from there.
// Zero always means what the standard says of an absent property; where a zero
// that was sent differs from nothing sent, the field is a pointer.
//
// Sources: "MQTT V3.1 Protocol Specification" (2010), OASIS "MQTT Version 3.1.1"
// and OASIS "MQTT Version 5.0". A bare statement number in a comment is one of
// 5.0; "v3" marks 3.1.1.
package packet
