package status

import "time"

// ReportVersion is the version of the report's JSON. It grows when a field changes its meaning or goes;
// new fields alone do not change it.
const ReportVersion = 1

// A Report is the gateway at one moment: the JSON of GET /v1/status, on the page's address and on the
// control socket. Ages and durations are seconds by the gateway's own monotonic clock, so they are right
// also on a machine whose clock is not. A field that is absent (null) is not known.
type Report struct {
	Version  int       `json:"version"`
	Time     time.Time `json:"time"`
	Gateway  Gateway   `json:"gateway"`
	Problems []string  `json:"problems"` // sentences; empty = healthy
	Alarms   []Alarm   `json:"alarms"`   // what somebody must look at
	Devices  []Device  `json:"devices"`
	Clouds   []Cloud   `json:"clouds"`
	Broker   Broker    `json:"broker"`
	Store    Store     `json:"store"`
	Link     *LinkInfo `json:"link,omitempty"` // only where there is a link to cut: the demo
}

// Down counts the devices that are offline and the clouds without a link. They make a gateway no less
// healthy, since a restart would not bring them back, but who looks must see it.
func (r Report) Down() (devices, links int) {
	for _, d := range r.Devices {
		if !d.Online {
			devices++
		}
	}
	for _, c := range r.Clouds {
		if !c.Connected {
			links++
		}
	}
	return devices, links
}

// Alarm is a retained message below <prefix>/alarm. It makes the gateway no less healthy.
type Alarm struct {
	Name  string     `json:"name"`
	Text  string     `json:"alarm"`
	Since *time.Time `json:"since,omitempty"` // by the wall clock; absent: it does not say
}

// Gateway says who answers.
type Gateway struct {
	ID          string      `json:"id"`
	Prefix      string      `json:"prefix"`
	Version     string      `json:"version"`
	Commit      string      `json:"commit,omitempty"`
	Uptime      float64     `json:"uptime_seconds"`
	Memory      int64       `json:"memory_bytes,omitempty"` // resident set
	Listens     []Listening `json:"listens"`
	ReadingRate *float64    `json:"readings_per_second"` // of all devices; null until there were two moments to compare
}

// Listening is an address that the gateway answers at.
type Listening struct {
	What    string `json:"what"` // "mqtt", "status"
	Address string `json:"address"`
}

// Device is one configured device.
type Device struct {
	Name     string   `json:"name"`
	Kind     string   `json:"kind"`
	Topic    string   `json:"topic"` // its state is at <topic>/state
	Online   bool     `json:"online"`
	Reason   string   `json:"reason,omitempty"` // why it is offline
	Lost     []string `json:"lost,omitempty"`   // what it must not be without and is, and whether it was made safe
	Since    *float64 `json:"since_seconds"`    // how long it has been online or offline
	Age      *float64 `json:"age_seconds"`      // of the last reading; null: none yet
	Values   []Value  `json:"values"`
	Readings int64    `json:"readings"`
	Errors   int64    `json:"errors"`
	LastErr  string   `json:"last_error,omitempty"`         // of these
	ErrAge   *float64 `json:"last_error_seconds,omitempty"` // how long ago that was
	Accepted int64    `json:"commands_accepted"`
	Refused  int64    `json:"commands_refused"`
}

// Value is the last value of one channel.
type Value struct {
	Channel  string `json:"channel"`
	Quantity string `json:"quantity,omitempty"`
	Unit     string `json:"unit,omitempty"`
	Value    any    `json:"value"`             // number, bool or string; null: measured, and no value that there can be
	Quality  string `json:"quality,omitempty"` // stale or bad; absent: good
}

// Cloud is one cloud and what waits for it.
type Cloud struct {
	Name         string   `json:"name"`
	Connected    bool     `json:"connected"`
	Server       string   `json:"server,omitempty"`
	Since        *float64 `json:"since_seconds"`
	Queued       int64    `json:"queued"`
	QueuedBytes  int64    `json:"queued_bytes"`
	Oldest       *float64 `json:"oldest_seconds"` // age of the oldest queued message; null: nothing is queued
	Sent         int64    `json:"sent"`           // acknowledged by the cloud
	Received     int64    `json:"received"`       // from the cloud, safe here
	Resent       int64    `json:"resent"`         // sent again, marked as such
	Dropped      int64    `json:"dropped"`        // by a configured limit
	Expired      int64    `json:"expired"`        // too old before they were sent
	Replaced     int64    `json:"replaced"`       // by a newer message of the topic before they were sent
	Purged       int64    `json:"purged"`         // taken from the queue by a person
	Rejected     int64    `json:"rejected"`       // set aside: the cloud will never take them
	Refused      int64    `json:"refused"`        // from the cloud, not taken here
	Connects     int64    `json:"connects"`
	SessionsLost int64    `json:"sessions_lost"`                  // times the cloud had forgotten the gateway's session
	SessionKept  float64  `json:"session_kept_seconds,omitempty"` // how long the cloud keeps the session after a cut; absent: for ever, or not known
	LastError    string   `json:"last_error,omitempty"`
	ErrAge       *float64 `json:"last_error_seconds,omitempty"` // how long ago that was
	SentRate     *float64 `json:"sent_per_second"`

	Draining *Draining `json:"draining,omitempty"` // a backlog is on its way; absent: none is
}

// Draining is how far a backlog is.
type Draining struct {
	Left      int64    `json:"left"`              // not sent yet
	Rate      float64  `json:"per_second"`        // acknowledged of late
	Remaining *float64 `json:"remaining_seconds"` // an estimate; null: it does not get smaller, or nobody knows yet
}

// Broker sums up the local clients.
type Broker struct {
	Clients       int      `json:"clients"`
	Sessions      int      `json:"sessions"`
	Subscriptions int      `json:"subscriptions"`
	Retained      int      `json:"retained"`
	Received      int64    `json:"messages_received"` // from clients; what devices say is not among them
	Sent          int64    `json:"messages_sent"`     // to clients
	Dropped       int64    `json:"messages_dropped"`
	Replaced      int64    `json:"messages_replaced"` // by a newer one of the topic
	Purged        int64    `json:"messages_purged"`   // taken from a queue by a person
	Refused       int64    `json:"connections_refused"`
	ReceivedRate  *float64 `json:"received_per_second"`
	SentRate      *float64 `json:"sent_per_second"`
}

// Store is the file on disk.
type Store struct {
	Path        string   `json:"path"`
	FileBytes   int64    `json:"file_bytes"`
	Written     int64    `json:"written_bytes"` // since the start
	Commits     int64    `json:"commits"`
	Syncs       int64    `json:"syncs"`
	Pending     int64    `json:"pending_bytes"` // in memory, waiting for a commit
	Cancelled   int64    `json:"cancelled"`     // writes that an early acknowledgement made unnecessary
	CommitTime  *float64 `json:"commit_seconds"`
	WrittenRate *float64 `json:"written_per_second"`
	Failures    int64    `json:"failed_commits"`
	Damaged     int64    `json:"damaged_records"`
	LastError   string   `json:"last_error,omitempty"` // why the last commit failed
	SetAside    string   `json:"set_aside,omitempty"`  // where a damaged store file was moved
	Damage      string   `json:"damage,omitempty"`     // the store was found damaged, and nobody has cleared the alarm since: what happened
}

// LinkInfo is the state of a link that can be cut on purpose.
type LinkInfo struct {
	Up bool `json:"up"`
}
