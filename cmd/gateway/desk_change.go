package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"edgegateway/bridge/cloud"
	"edgegateway/buffer"
)

// changeAnswer is the answer to a change of a queue.
type changeAnswer struct {
	Queue        string   `json:"queue"`
	Purged       int      `json:"purged,omitempty"`
	Kept         int      `json:"kept,omitempty"` // of these, hold their number because they may have been sent
	Requeued     int      `json:"requeued,omitempty"`
	Unknown      []uint64 `json:"unknown,omitempty"` // asked for, and not among the rejected ones
	To           string   `json:"to,omitempty"`
	Moved        int      `json:"moved,omitempty"`
	Replaced     int      `json:"replaced,omitempty"`      // of a keep-last queue, for which it has a newer value
	Rejected     int      `json:"rejected_kept,omitempty"` // left to be looked at
	Dropped      bool     `json:"dropped,omitempty"`       // the queue went, with all that was kept for its cloud
	Interruption string   `json:"error,omitempty"`         // what it ended by before it was complete
}

// purge takes out what waits in a queue, or what its receiver rejected. The queue of a
// cloud that is not configured, or of a client whose session was lost, goes as a whole:
// nobody is left who could be told a number again.
func (d desk) purge(w http.ResponseWriter, r *http.Request) {
	q, err := d.find(r.FormValue("queue"))
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	takeTime(w)
	a := changeAnswer{Queue: q.Name()}
	if r.FormValue("rejected") != "" {
		a.Purged, err = q.PurgeRejected(r.Context(), nil)
	} else if d.orphan(q.Name()) {
		err = d.purgeOrphan(r.Context(), q, &a)
	} else {
		a.Purged, a.Kept, err = q.Purge(r.Context(), nil)
	}
	d.finish(w, r.Context(), q, a, err)
}

func (d desk) purgeOrphan(ctx context.Context, q *buffer.Queue, a *changeAnswer) (err error) {
	rejected, err := q.Rejected()
	if err != nil {
		return err
	}
	if len(rejected) > 0 {
		a.Purged, a.Kept, err = q.Purge(ctx, nil)
		return err
	}
	a.Purged = q.Stats().Messages
	a.Dropped = true
	return d.drop(ctx, q)
}

// requeue has rejected messages sent again, as new ones: seq names some, else all.
func (d desk) requeue(w http.ResponseWriter, r *http.Request) {
	q, err := d.find(r.FormValue("queue"))
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	a := changeAnswer{Queue: q.Name()}
	var seqs []uint64
	for _, text := range r.Form["seq"] {
		seq, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			refuse(w, http.StatusBadRequest, fmt.Errorf("%q is no number of a message: \"gateway queue peek -rejected %s\" shows them", text, q.Name()))
			return
		}
		seqs = append(seqs, seq)
	}
	takeTime(w)
	a.Unknown, err = unknown(q, seqs)
	if err == nil {
		a.Requeued, err = q.RequeueRejected(r.Context(), seqs)
	}
	d.finish(w, r.Context(), q, a, err)
}

// unknown are the numbers that are not among the rejected ones.
func unknown(q *buffer.Queue, seqs []uint64) (list []uint64, err error) {
	rejected, err := q.Rejected()
	if err != nil {
		return nil, err
	}
	known := make(map[uint64]bool)
	for _, r := range rejected {
		known[r.Seq] = true
	}
	for _, seq := range seqs {
		if !known[seq] {
			list = append(list, seq)
		}
	}
	return list, nil
}

// move gives the messages of a queue that nobody drains to a cloud.
func (d desk) move(w http.ResponseWriter, r *http.Request) {
	from, err := d.find(r.FormValue("from"))
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	if !d.orphan(from.Name()) {
		refuse(w, http.StatusConflict, fmt.Errorf("queue %q is in use by %s: only the queue of a cloud that is not configured any more, or of a client whose session was lost, can be moved", from.Name(), ownerOf(from.Name())))
		return
	}
	word := r.FormValue("to")
	name := strings.TrimPrefix(strings.TrimPrefix(word, cloudQueue), "cloud/")
	c := d.cloud(name)
	if c == nil {
		refuse(w, http.StatusNotFound, fmt.Errorf("no cloud %q is configured: messages can be moved to the queue of one that is", name))
		return
	}
	takeTime(w)
	to := d.store.Find(cloud.QueueName(name))
	if to == nil { // no gateway has run with this cloud so far
		if to, err = d.store.Queue(cloud.QueueName(name), c.Limits()); err != nil {
			refuse(w, http.StatusInternalServerError, err)
			return
		}
	}
	a := changeAnswer{Queue: from.Name(), To: to.Name()}
	a.Moved, a.Replaced, err = from.MoveTo(r.Context(), to)
	if errors.Is(err, buffer.ErrFull) {
		err = fmt.Errorf("%w: raise max_queued_messages and max_queued_bytes of cloud %s, or make room in it", err, name)
	}
	d.finish(w, r.Context(), from, a, err)
}

// finish answers. A queue that nobody drains goes when nothing is in
// it any more that somebody could want.
func (d desk) finish(w http.ResponseWriter, ctx context.Context, q *buffer.Queue, a changeAnswer, err error) {
	if err == nil && !a.Dropped {
		var rejected []buffer.Rejection
		if rejected, err = q.Rejected(); err == nil {
			a.Rejected = len(rejected)
		}
		if err == nil && d.orphan(q.Name()) && a.Rejected == 0 && empty(q) {
			a.Dropped = true
			err = d.drop(ctx, q)
		}
	}
	if d.changed != nil {
		d.changed()
	}
	if err != nil {
		if a.Dropped = false; a.Purged+a.Requeued+a.Moved+a.Replaced == 0 {
			refuse(w, http.StatusInternalServerError, err)
			return
		}
		a.Interruption = err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a) // the far side may be gone; nothing to do about it
}

// empty reports whether no message is left; numbers that are held do not count.
func empty(q *buffer.Queue) bool {
	empty := true
	err := q.Each(func(buffer.Entry) bool { empty = false; return false })
	return err == nil && empty
}

// drop returns when the queue of a cloud, and all that is kept for that, or of a client
// whose session was lost, is on disk no more.
func (d desk) drop(ctx context.Context, q *buffer.Queue) error {
	c := d.store.Begin()
	if name, ok := strings.CutPrefix(q.Name(), cloudQueue); !ok {
		d.store.DropQueue(c, q)
	} else if err := cloud.Forget(c, d.store, name); err != nil {
		return err
	}
	done := make(chan error, 1)
	c.Commit(func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
