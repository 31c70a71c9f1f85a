package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"edgegateway/drivers"
	"edgegateway/status"
)

func readVerb() verb {
	return verb{
		name:    "read",
		args:    "[flags] DEVICE",
		summary: "show what a device says: its values, their age, or why it is offline",
		about: "Asks the running gateway what the device said last; with -now it is measured first, which a device\n" +
			"that tells by itself is not. While no gateway is running, or for a device that it has not yet, the\n" +
			"device is opened here by its configuration, and closed after its first reading. A counter begins at\n" +
			"zero then, and an output, which would move, is left alone without -open.\n\n" +
			"Exit code 1 when the device is offline, or has nothing to say within -timeout.",
		example: "gateway read boiler\ngateway read -now -json boiler\ngateway read -config /etc/gateway/gateway.toml -follow weather",
		setup: func(f *flag.FlagSet) action {
			v := &readFlags{where: socketFlags(f)}
			f.BoolVar(&v.now, "now", false, "measure before the next turn")
			f.BoolVar(&v.follow, "follow", false, "go on until Ctrl-C: a line for each reading, of a running gateway at most two a second")
			f.DurationVar(&v.every, "every", 0, "go on until Ctrl-C, and measure as often as `TIME` says")
			f.DurationVar(&v.timeout, "timeout", 15*time.Second, "`TIME` to wait for a reading")
			f.BoolVar(&v.json, "json", false, "print JSON; with -follow and -every one object per line")
			f.BoolVar(&v.open, "open", false, "open an output as well, which brings it into its initial and then into its safe state")
			return func(ctx context.Context, p *process, words []string) error {
				switch {
				case len(words) != 1:
					return usageError("name one device, as gateway status lists them: gateway read DEVICE")
				case v.timeout <= 0 || v.timeout > mostPatience:
					return usageError(fmt.Sprintf("-timeout must be more than 0s and at most %v", mostPatience))
				case v.every != 0 && v.every < 10*time.Millisecond:
					return usageError("-every must be at least 10ms")
				}
				return v.read(ctx, p, words[0])
			}
		},
	}
}

type readFlags struct {
	where                   *socketChoice
	now, follow, json, open bool
	every, timeout          time.Duration
}

// repeats tells whether one reading is not enough.
func (v *readFlags) repeats() bool { return v.follow || v.every > 0 }

func (v *readFlags) read(ctx context.Context, p *process, name string) error {
	at, err := v.where.whereIs(ctx, p, name)
	switch {
	case err != nil:
		return err
	case at.here != nil:
		return v.readHere(ctx, p, at)
	case v.repeats():
		return v.followRunning(ctx, p, *at.running)
	}
	if v.now {
		if err := v.sample(ctx, p, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if at, err = v.where.whereIs(ctx, p, name); err != nil {
			return err
		}
		if at.running == nil {
			return errGone
		}
	}
	return v.print(p.stdout, *at.running)
}

// sample has the running gateway measure.
func (v *readFlags) sample(ctx context.Context, p *process, name string) error {
	q := url.Values{"device": {name}, "within": {v.timeout.String()}}
	return v.where.askDevice(ctx, p, "/v1/devices/sample?"+q.Encode(), v.timeout, io.Discard)
}

// lookEvery is how often a running gateway is asked for what is new.
const lookEvery = 500 * time.Millisecond

// followRunning prints what a running gateway has of a device, as often as it has
// something new, or as it is measured.
func (v *readFlags) followRunning(ctx context.Context, p *process, d status.Device) error {
	pause := v.every
	if pause == 0 {
		pause = lookEvery
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for first := true; ; first = false {
		if v.every > 0 || first && v.now {
			_ = v.sample(ctx, p, d.Name) // why there is no reading, the device says itself
		}
		at, err := v.where.whereIs(ctx, p, d.Name)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case at.running == nil:
			return errGone
		}
		last := d
		d = *at.running
		if first || v.every > 0 || d.Readings != last.Readings || d.Online != last.Online || d.Reason != last.Reason {
			if err := v.printLine(p.stdout, d); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

var errGone = errors.New("the gateway has stopped, or does not have the device any more")

// readHere opens the device in this process.
func (v *readFlags) readHere(ctx context.Context, p *process, at whereabouts) (err error) {
	d := *at.here
	if v.every > 0 {
		d.Every = v.every
	}
	if moves(d) && !v.open {
		return fmt.Errorf("no gateway holds %s, and to open it would move it: it goes to its initial state, and at the end to its safe state. -open does that", d.Name)
	}
	if err := at.mayMove(); err != nil {
		return err
	}
	visit := visitDevice(ctx, p, d)
	defer func() { err = errors.Join(err, visit.close()) }()
	timeout := time.NewTimer(v.timeout)
	defer timeout.Stop()
	var channels []drivers.Channel
	for {
		select {
		case <-ctx.Done():
			if v.repeats() {
				return nil
			}
			return errors.New("stopped before there was a reading")
		case <-timeout.C:
			return fmt.Errorf("%s is open, and said nothing within %v: it may speak seldom (-timeout), or nothing comes over its wire", d.Name, v.timeout)
		case e := <-visit.events:
			var said status.Device
			switch {
			case e.online:
				channels = e.channels
				continue
			case e.offline != nil:
				said = status.Device{Name: d.Name, Kind: d.Kind, Reason: e.offline.Error(), Values: []status.Value{}}
			case e.reading != nil:
				said = deviceHere(d, channels, *e.reading)
			default:
				continue
			}
			timeout.Stop()
			if !v.repeats() {
				return v.print(p.stdout, said)
			}
			if err := v.printLine(p.stdout, said); err != nil {
				return err
			}
		}
	}
}

// print shows a device once. One that is offline is the error.
func (v *readFlags) print(w io.Writer, d status.Device) error {
	if v.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if err := e.Encode(d); err != nil {
			return err
		}
	} else {
		t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
		printDevice(t, "", widthOf([]status.Device{d}), d)
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if !d.Online {
		return exitError{code: exitFailed}
	}
	return nil
}

// printLine shows a device as one of many lines.
func (v *readFlags) printLine(w io.Writer, d status.Device) error {
	if v.json {
		return json.NewEncoder(w).Encode(d)
	}
	at := time.Now()
	if d.Age != nil && d.Online {
		at = at.Add(-time.Duration(*d.Age * float64(time.Second)))
	}
	var said []string
	for _, v := range d.Values {
		said = append(said, strings.TrimSpace(v.Channel+" "+showReading(v)))
	}
	if !d.Online {
		said = []string{"OFFLINE: " + d.Reason}
	} else if len(said) == 0 {
		said = []string{"no reading yet"}
	}
	_, err := fmt.Fprintf(w, "%s  %s\n", at.Format(time.TimeOnly), strings.Join(said, ", "))
	return err
}
