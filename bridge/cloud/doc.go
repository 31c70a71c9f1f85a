// Package cloud joins the broker to an MQTT 5 server far away over a link that
// fails.
//
// What goes up lies in the queue of a durable session of the broker and stays
// there until the server has acknowledged it. What it promises:
//
//   - Nothing that a route takes up is lost while the link is down or the process
//     is not running, except by the limits in the configuration.
//   - QoS 2 is exactly once in both directions while both sides keep their
//     session. If the server lost its own, everything that it did not finish is
//     sent again as new: no loss, maybe a duplicate, counted.
//   - Messages leave in the order in which the broker queued them.
//   - The status on the server (retained, and carried by the will) bypasses the
//     queue: an old status never overtakes a new one.
//
// The parts: [Config] and its routes, with what becomes of a topic (route.go, plan.go)
// and where they go in circles (loops.go); how a server is reached (server.go, dial.go,
// proxy.go, tls.go, websocket.go); the loop that chooses a server and waits (loop.go,
// roster.go, pace.go, reasons.go); one link for each connection (once.go, link.go), with
// its sending side (uplink.go, throttle.go), its receiving side (downlink.go) and those
// who watch it (keepalive.go, watchdog.go, return.go, drain.go); the memory that
// outlives connections (epoch.go, inbound.go); what is told of all this (report.go,
// birth.go, alarm.go); and one file that speaks to the MQTT client library (paho.go).
package cloud
