package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"edgegateway/bridge/cloud"
	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// A desk answers what the verbs queue and backup ask: over the control socket of a
// running gateway, or, while none runs, of the file itself.
type desk struct {
	store   *buffer.Store
	decoder *broker.Decoder
	clouds  []cloud.Config
	lost    []string // queues of clients whose session was lost
	changed func()   // after queues were purged or moved; may be nil
}

// newDesk is for a store whose clients can not connect yet.
func newDesk(store *buffer.Store, decoder *broker.Decoder, clouds []cloud.Config) (desk, error) {
	lost, err := broker.Ownerless(store)
	if err != nil {
		return desk{}, fmt.Errorf("look for queues without a session: %w", err)
	}
	return desk{store: store, decoder: decoder, clouds: clouds, lost: lost}, nil
}

// handle adds what the desk answers.
func (d desk) handle(add func(pattern string, h http.Handler)) {
	add("GET /v1/queues", http.HandlerFunc(d.list))
	add("GET /v1/queues/entries", http.HandlerFunc(d.entries))
	add("GET /v1/backup", http.HandlerFunc(d.backup))
	add("POST /v1/queues/purge", http.HandlerFunc(d.purge))
	add("POST /v1/queues/requeue", http.HandlerFunc(d.requeue))
	add("POST /v1/queues/mv", http.HandlerFunc(d.move))
}

// queueInfo is one queue in the answer to GET /v1/queues. Counters run since the
// gateway was started.
type queueInfo struct {
	Name     string   `json:"name"`
	Owner    string   `json:"owner"`  // "cloud acme", "client pump"
	Orphan   bool     `json:"orphan"` // of a cloud that is not configured, or of a client whose session was lost
	Messages int      `json:"messages"`
	Bytes    int64    `json:"bytes"`
	Oldest   *float64 `json:"oldest_seconds"` // null: there is none
	InFlight int      `json:"in_flight"`
	Dropped  int64    `json:"dropped"`
	Refused  int64    `json:"refused"`
	Rejected int64    `json:"rejected"`
	Kept     int      `json:"rejected_kept"` // set aside, to be looked at
	Damaged  int64    `json:"damaged"`
}

const clientQueue = "client/"

var cloudQueue = cloud.QueueName("")

// ownerOf says whose queue it is, for people.
func ownerOf(queue string) string {
	if name, ok := strings.CutPrefix(queue, cloudQueue); ok {
		return "cloud " + name
	}
	if rest, ok := strings.CutPrefix(queue, clientQueue); ok {
		if i := strings.LastIndexByte(rest, '/'); i >= 0 {
			return "client " + rest[:i]
		}
	}
	return queue
}

// orphans are the queues that nobody drains, in which messages wait.
func (d desk) orphans() (names []string) {
	for _, name := range d.store.Queues() {
		if q := d.store.Find(name); d.orphan(name) && q != nil && q.Stats().Messages > 0 {
			names = append(names, name)
		}
	}
	return names
}

func (d desk) orphan(queue string) bool {
	name, ok := strings.CutPrefix(queue, cloudQueue)
	return ok && d.cloud(name) == nil || slices.Contains(d.lost, queue)
}

// cloud is the configuration of a cloud; nil: there is none of this name.
func (d desk) cloud(name string) *cloud.Config {
	if i := slices.IndexFunc(d.clouds, func(c cloud.Config) bool { return c.Name == name }); i >= 0 {
		return &d.clouds[i]
	}
	return nil
}

func (d desk) list(w http.ResponseWriter, _ *http.Request) {
	list := []queueInfo{}
	for _, name := range d.store.Queues() {
		q := d.store.Find(name)
		if q == nil {
			continue // it went meanwhile
		}
		st := q.Stats()
		info := queueInfo{
			Name: name, Owner: ownerOf(name), Orphan: d.orphan(name),
			Messages: st.Messages, Bytes: st.Bytes, InFlight: st.InFlight,
			Dropped: st.Dropped, Refused: st.Refused, Rejected: st.Rejected, Damaged: st.Damaged,
		}
		if !st.Oldest.IsZero() {
			age := max(0, time.Since(st.Oldest).Seconds())
			info.Oldest = &age
		}
		kept, err := q.Rejected()
		if err != nil {
			refuse(w, http.StatusInternalServerError, err)
			return
		}
		info.Kept = len(kept)
		list = append(list, info)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list) // the far side may be gone; nothing to do about it
}

// find takes the whole name of a queue, the name of a cloud, or a client identifier.
func (d desk) find(word string) (*buffer.Queue, error) {
	if q := d.store.Find(word); q != nil {
		return q, nil
	}
	if q := d.store.Find(cloudQueue + strings.TrimPrefix(word, "cloud/")); q != nil {
		return q, nil
	}
	var found []string
	for _, name := range d.store.Queues() {
		if ownerOf(name) == "client "+word {
			found = append(found, name)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("there is no queue %q: \"gateway queue ls\" shows the names", word)
	case 1:
		if q := d.store.Find(found[0]); q != nil {
			return q, nil
		}
		return nil, fmt.Errorf("queue %q has just gone", word)
	}
	return nil, fmt.Errorf("%q has several queues: name one of %s", word, strings.Join(found, ", "))
}

// queueEntry is one line of the answer to GET /v1/queues/entries.
type queueEntry struct {
	Seq        uint64         `json:"seq"`
	Lane       uint8          `json:"priority"`
	At         *time.Time     `json:"at,omitempty"` // when it came into the gateway
	Topic      string         `json:"topic"`
	QoS        byte           `json:"qos"`
	Retain     bool           `json:"retain"`
	Payload    *string        `json:"payload,omitempty"`        // if it is UTF-8 text
	Binary     []byte         `json:"payload_base64,omitempty"` // else
	Size       int            `json:"size"`                     // of the payload, bytes
	ID         string         `json:"id"`
	Origin     string         `json:"origin,omitempty"`
	MaybeSent  bool           `json:"maybe_sent,omitempty"`
	Received   bool           `json:"received,omitempty"` // the receiver has it; only the end of the handshake is missing
	Properties map[string]any `json:"properties,omitempty"`
	Rejected   *time.Time     `json:"rejected_at,omitempty"`
	Reason     string         `json:"reason,omitempty"` // why it was rejected
	Error      string         `json:"error,omitempty"`  // it can not be shown
}

func (d desk) describe(x buffer.Entry) queueEntry {
	r, err := d.decoder.Decode(x)
	if err != nil {
		return queueEntry{Error: err.Error(), Binary: x.Data, Size: len(x.Data)}
	}
	e := queueEntry{
		Topic: r.Message.Topic, QoS: r.QoS, Retain: r.Retain,
		Size: len(r.Message.Payload), ID: hex.EncodeToString(r.ID[:]), Origin: r.Message.Origin,
	}
	if utf8.Valid(r.Message.Payload) {
		text := string(r.Message.Payload)
		e.Payload = &text
	} else {
		e.Binary = r.Message.Payload
	}
	e.Properties = properties(r.Message.Properties)
	if !x.At.IsZero() {
		at := x.At.UTC()
		e.At = &at
	}
	return e
}

// properties are those of MQTT 5, by the names that the standard gives them.
func properties(p *packet.Properties) map[string]any {
	if p == nil {
		return nil
	}
	m := make(map[string]any)
	if p.ContentType != "" {
		m["content_type"] = p.ContentType
	}
	if p.ResponseTopic != "" {
		m["response_topic"] = p.ResponseTopic
	}
	if len(p.CorrelationData) > 0 {
		m["correlation_data"] = p.CorrelationData
	}
	if p.Has&packet.HasMessageExpiry != 0 {
		m["message_expiry_interval"] = p.MessageExpiry
	}
	if len(p.UserProperties) > 0 {
		list := make([][2]string, len(p.UserProperties))
		for i, u := range p.UserProperties {
			list[i] = [2]string{u.Key, u.Value}
		}
		m["user_properties"] = list
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

// entries answers with a line of JSON for each entry of a queue, the next one to go
// first; n bounds how many, rejected asks for those that the receiver did not take.
func (d desk) entries(w http.ResponseWriter, r *http.Request) {
	q, err := d.find(r.FormValue("queue"))
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	left := -1
	if text := r.FormValue("n"); text != "" {
		if left, err = strconv.Atoi(text); err != nil || left < 0 {
			refuse(w, http.StatusBadRequest, fmt.Errorf("n is %q, want a number", text))
			return
		}
	}
	out := newSlowWriter(w)
	lines := json.NewEncoder(out)
	if r.FormValue("rejected") != "" {
		list, err := q.Rejected()
		if err != nil {
			refuse(w, http.StatusInternalServerError, err)
			return
		}
		for _, x := range list {
			if left == 0 {
				return
			}
			left--
			e := d.describe(x.Entry)
			e.Seq, e.Lane, e.Rejected, e.Reason = x.Seq, x.Lane, &x.RejectedAt, x.Reason
			if lines.Encode(e) != nil {
				return
			}
		}
		return
	}
	var cut error
	err = q.Each(func(x buffer.Entry) bool {
		if left == 0 {
			return false
		}
		if cut = r.Context().Err(); cut != nil {
			return false
		}
		left--
		e := d.describe(x)
		e.Seq, e.Lane, e.MaybeSent, e.Received = x.Seq, x.Lane, x.Again, x.Received
		return lines.Encode(e) == nil
	})
	if err = errors.Join(err, cut); err != nil {
		out.fail(err)
	}
}

// backup answers with the bytes of a backup.
func (d desk) backup(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second) // for the disk
	defer cancel()
	out := newSlowWriter(w)
	if _, err := d.store.Backup(ctx, out); err != nil {
		out.fail(err)
	}
}

// slowWriter gives each piece of a long answer a time of its own, and ends who stops
// reading.
type slowWriter struct {
	w     http.ResponseWriter
	begun bool
}

const pieceTimeout = 30 * time.Second

func newSlowWriter(w http.ResponseWriter) *slowWriter { return &slowWriter{w: w} }

// takeTime is for an answer that may come later than the server of the control socket
// allows. When its asker goes, the context of the question ends.
func takeTime(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // a writer in the same process has none
}

func (s *slowWriter) Write(b []byte) (int, error) {
	s.begun = true
	_ = http.NewResponseController(s.w).SetWriteDeadline(time.Now().Add(pieceTimeout)) // a writer in the same process has none
	return s.w.Write(b)
}

// fail tells the far side that the answer is not complete.
func (s *slowWriter) fail(err error) {
	if !s.begun {
		refuse(s.w, http.StatusInternalServerError, err)
		return
	}
	panic(http.ErrAbortHandler) // a chunk is missing at the end, which HTTP can tell
}

func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()}) // the far side may be gone
}
