// Package bench puts load on an MQTT broker and counts what comes out.
//
// It asks for nothing but the protocol, so it measures any broker. Each message
// carries its stream, its number and its time of sending in the payload; from
// these come losses, duplicates, order and latency. Publishers and subscribers
// share one process and therefore one clock.
//
// The generator must never be what is measured: messages are patched in place in
// a buffer of prepared packets and leave with large writes, received ones are
// looked at where they lie, and nothing is allocated per message. Sink is the
// proof: what it takes from Messages is the generator's limit on this machine.
// Each result says how much CPU time the generator itself has used.
//
// All runs are bounded by a number or a duration, and a broker that falls silent
// ends them, too.
package bench
