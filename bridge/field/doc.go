// Package field joins the devices around the gateway to the broker.
//
// Each device of the configuration has its own topics, below <prefix>/<name>:
//
//	state          JSON: the last value of every channel, and ts, taken at the sensor; retained.
//	               "quality" names channels that are stale (older than stale_after, or the
//	               last sample failed) or bad (null), "clock" says unsynced while the wall
//	               clock is not set
//	availability   online or offline, with the reason as a user property (MQTT 5); retained
//	set            a command to the device, JSON or a bare value
//	<channel>/set  a command to one channel
//	result         JSON: the outcome of a command, or why the device went to its safe state
//
// Acceptance and outcome of a command are two things. A command is accepted when
// it is valid and there is room among the commands that wait for the device (8,
// with the one under way): then its publisher gets its acknowledgement, else, at
// QoS 1 in MQTT 5, a reason code. What became of it says the result. Commands live
// in memory only, on purpose: a valve must not open an hour late because the gateway was restarted. For the same
// reason a retained or expired command never moves anything, and one that has
// waited for 30 s is not carried out any more. A command of QoS 2 that was accepted and
// has no outcome when the gateway crashes is not carried out after the restart either:
// its result is then "unknown: gateway restarted". (If the crash comes between the result
// and the removal of its note, both results are seen.) Those of QoS 0 and 1 get no result
// after a crash: nothing is written for them.
//
// A device with a safe state goes there by itself when it loses what the configuration
// says that it must not be without: the link to a cloud, or a heartbeat. The bridges
// meet in the broker alone, so the link is known by what the other one publishes of it.
//
// One device never disturbs another: each has its own drivers.Run, and what does
// not work is offline, with the reason.
package field
