package status

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/bridge/field"
	"edgegateway/broker"
	"edgegateway/buffer"
	"edgegateway/drivers"
)

// Sources are what a report is made from. Their methods must be safe for concurrent use and must not wait.
type Sources struct {
	Gateway   Gateway   // who answers; Uptime and Memory are filled in
	Started   time.Time // with its monotonic reading
	StorePath string

	Broker  interface{ Stats() broker.Stats }
	Store   interface{ Stats() buffer.Stats }
	Devices interface{ Devices() []field.DeviceStatus }
	Clouds  []CloudSource // in the order of the configuration

	// Alarms are those that are raised, in the order of their names; nil: there are none.
	Alarms func() []Alarm

	// Healthy asks whether the gateway does its work, within the time that ctx leaves.
	Healthy func(ctx context.Context) error

	// Link is a link that can be cut on purpose; nil where there is none.
	Link Link
}

// CloudSource is the bridge to one cloud.
type CloudSource interface{ Status() cloud.Status }

// Link is a link that can be cut on purpose. Safe for concurrent use.
type Link interface {
	Up() bool
	Set(up bool)
}

func (s Sources) report(ctx context.Context, now time.Time) Report {
	g := s.Gateway
	g.Uptime = now.Sub(s.Started).Seconds()
	g.Memory = residentMemory()
	r := Report{
		Version: ReportVersion, Time: now, Gateway: g,
		Problems: s.problems(ctx),
		Alarms:   []Alarm{}, Devices: []Device{}, Clouds: []Cloud{},
		Broker: brokerReport(s.Broker.Stats()),
		Store:  storeReport(s.StorePath, s.Store.Stats()),
	}
	if s.Alarms != nil {
		r.Alarms = append(r.Alarms, s.Alarms()...)
	}
	for _, d := range s.Devices.Devices() {
		r.Devices = append(r.Devices, DeviceReport(d, now))
	}
	for _, c := range s.Clouds {
		r.Clouds = append(r.Clouds, cloudReport(c.Status(), now))
	}
	if s.Link != nil {
		r.Link = &LinkInfo{Up: s.Link.Up()}
	}
	return r
}

func brokerReport(b broker.Stats) Broker {
	return Broker{
		Clients: b.Clients, Sessions: b.Sessions, Subscriptions: b.Subscriptions, Retained: b.RetainedMessages,
		Received: b.PublishReceived, Sent: b.PublishSent, Dropped: b.PublishDropped, Replaced: b.PublishReplaced, Purged: b.PublishPurged,
		Refused: b.ConnectionsRefused + b.NotMQTT,
	}
}

func cloudReport(c cloud.Status, now time.Time) Cloud {
	r := Cloud{
		Name: c.Name, Connected: c.Connected, Server: c.Server, Since: age(now, c.Since),
		Queued: int64(c.Queued), QueuedBytes: c.QueuedBytes, Oldest: age(now, c.Oldest),
		Sent: c.Sent, Received: c.Received, Resent: c.Resent, Dropped: c.Dropped, Expired: c.Expired, Replaced: c.Replaced, Purged: c.Purged, Rejected: c.Rejected, Refused: c.Refused,
		Connects: c.Connects, SessionsLost: c.SessionsLost, LastError: c.LastError,
		ErrAge: age(now, c.LastErrorAt), SessionKept: c.SessionExpiry.Seconds(),
	}
	if d := c.Draining; d != nil {
		r.Draining = &Draining{Left: int64(d.Left), Rate: d.Rate}
		if d.Remaining > 0 {
			left := d.Remaining.Seconds()
			r.Draining.Remaining = &left
		}
	}
	return r
}

// DeviceReport is what a report says of one device.
func DeviceReport(d field.DeviceStatus, now time.Time) Device {
	r := Device{
		Name: d.Name, Kind: d.Kind, Topic: d.Topic, Online: d.Online, Reason: d.Reason, Lost: d.Lost,
		Since: age(now, d.Since), Age: age(now, d.LastReading), Values: []Value{},
		Readings: d.Counts.Readings, Errors: d.Counts.Errors, Accepted: d.Accepted, Refused: d.Refused,
	}
	if d.Counts.Errors > 0 {
		r.LastErr, r.ErrAge = d.Counts.LastError, age(now, d.Counts.LastErrorAt)
	}
	for _, v := range d.Values {
		value := Value{Channel: v.Channel, Value: v.V, Quality: d.Quality[v.Channel]}
		if at := slices.IndexFunc(d.Channels, func(c drivers.Channel) bool { return c.Name == v.Channel }); at >= 0 {
			value.Quantity, value.Unit = string(d.Channels[at].Quantity), d.Channels[at].Unit
		}
		r.Values = append(r.Values, value)
	}
	return r
}

func storeReport(path string, s buffer.Stats) Store {
	r := Store{
		Path: path, FileBytes: s.FileSize, Written: s.BytesWritten, Commits: s.Commits, Syncs: s.Fsyncs,
		Pending: s.PendingBytes, Cancelled: s.Cancelled, Failures: s.Failures, Damaged: s.Damaged,
		LastError: s.Err, SetAside: s.SetAside,
	}
	if s.Damage != nil {
		r.Damage = s.Damage.String()
	}
	if s.Commits > 0 {
		mean := s.LatencyMean.Seconds()
		r.CommitTime = &mean
	}
	return r
}

// healthTimeout bounds how long a question about health may take.
const healthTimeout = 2 * time.Second

// problems are the sentences that make the gateway unhealthy. A cloud that can not be reached and a device
// that does not answer are not among them: a restart would not help.
func (s Sources) problems(ctx context.Context) []string {
	problems := []string{}
	if s.Healthy != nil {
		ctx, cancel := context.WithTimeout(ctx, healthTimeout)
		defer cancel()
		if err := s.Healthy(ctx); err != nil {
			problems = append(problems, err.Error())
		}
	}
	switch st := s.Store.Stats(); {
	case st.Full:
		problems = append(problems, fmt.Sprintf("the disk is full: what is acknowledged is safe, and nothing more is acknowledged that must be kept until there is room at %s", s.StorePath))
	case st.Err != "":
		problems = append(problems, fmt.Sprintf("the store can not write: %s", st.Err))
	}
	return problems
}

func (s Sources) counters(now time.Time) counters {
	b, st := s.Broker.Stats(), s.Store.Stats()
	sent := make(map[string]int64, len(s.Clouds))
	for _, c := range s.Clouds {
		st := c.Status()
		sent[st.Name] = st.Sent
	}
	var readings int64
	for _, d := range s.Devices.Devices() {
		readings += d.Counts.Readings
	}
	return counters{at: now, readings: readings, received: b.PublishReceived, sent: b.PublishSent, written: st.BytesWritten, clouds: sent}
}

// residentMemory is the second field of /proc/self/statm in bytes; 0 where there is none (proc(5)).
func residentMemory() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// age is the time since at in seconds; nil if at is not known.
func age(now, at time.Time) *float64 {
	if at.IsZero() {
		return nil
	}
	s := max(now.Sub(at).Seconds(), 0) // a reading from a clock that was ahead is not from the future
	return &s
}
