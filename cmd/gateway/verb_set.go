package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"edgegateway/bridge/field"
	"edgegateway/drivers"
)

func setVerb() verb {
	return verb{
		name:    "set",
		args:    "[flags] DEVICE[/CHANNEL] VALUE",
		summary: "give a device a command, and tell what came of it",
		about: "VALUE is on or off, a number, a text, or JSON; a text that begins with - stands behind \"--\". CHANNEL\n" +
			"can be left out where there is one to set.\n\n" +
			"The running gateway carries the command out as it does any other: the device validates it, it waits\n" +
			"its turn, and it is not carried out any more when -timeout is over.\n\n" +
			"While no gateway is running, the device is opened here, which brings an output into its initial state,\n" +
			"and set. An output is then held until Ctrl-C, or for as long as -for says, and closed, which brings it\n" +
			"into its safe state. A device that the running gateway does not have yet is opened here, too; but for\n" +
			"an output that gateway has to be started again first.\n\n" +
			"Exit code 1 when the command is refused or fails.",
		example: "gateway set pump on\ngateway set heater/target 21.5\ngateway set -config /etc/gateway/gateway.toml -for 5s valve on",
		setup: func(f *flag.FlagSet) action {
			v := &setFlags{where: socketFlags(f)}
			f.DurationVar(&v.timeout, "timeout", 10*time.Second, "`TIME` to wait for the outcome")
			f.DurationVar(&v.keep, "for", 0, "hold a device that is opened here for `TIME`, and not until Ctrl-C")
			return func(ctx context.Context, p *process, words []string) error {
				if len(words) != 2 {
					return usageError("name a device and a value: gateway set DEVICE[/CHANNEL] VALUE")
				}
				device, channel, named := strings.Cut(words[0], "/")
				switch {
				case device == "" || named && channel == "":
					return usageError(fmt.Sprintf("%q is not DEVICE or DEVICE/CHANNEL", words[0]))
				case v.timeout <= 0 || v.timeout > mostPatience:
					return usageError(fmt.Sprintf("-timeout must be more than 0s and at most %v", mostPatience))
				case v.keep < 0:
					return usageError("-for must not be negative")
				}
				return v.set(ctx, p, device, channel, words[1])
			}
		},
	}
}

type setFlags struct {
	where         *socketChoice
	timeout, keep time.Duration
}

func (v *setFlags) set(ctx context.Context, p *process, device, channel, value string) error {
	at, err := v.where.whereIs(ctx, p, device)
	switch {
	case err != nil:
		return err
	case at.here != nil:
		if err := at.mayMove(); err != nil {
			return err
		}
		return v.setHere(ctx, p, *at.here, channel, value)
	case v.keep > 0:
		return usageError("-for is for a device that is opened here; the running gateway holds " + device + " as long as it runs")
	}
	q := url.Values{"device": {device}, "channel": {channel}, "value": {value}, "within": {v.timeout.String()}}
	var answer bytes.Buffer
	if err := v.where.askDevice(ctx, p, "/v1/devices/set?"+q.Encode(), v.timeout, &answer); err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	var a setAnswer
	if err := understand(answer.Bytes(), &a); err != nil {
		return err
	}
	printSet(p.stdout, a)
	return nil
}

// printSet tells what a device was set to.
func printSet(w io.Writer, a setAnswer) {
	what := printable(a.Device) + ": "
	if a.Channel != "" {
		what += printable(a.Channel) + " = "
	}
	if a.Value == nil {
		fmt.Fprintf(w, "%scarried out\n", what)
		return
	}
	fmt.Fprintf(w, "%s%s\n", what, printable(showValue(a.Value, a.Unit)))
}

// setHere opens the device in this process.
func (v *setFlags) setHere(ctx context.Context, p *process, d field.DeviceConfig, channel, value string) (err error) {
	parsed, err := field.ParseCommand([]byte(value))
	if err != nil {
		return fmt.Errorf("%s: %w", d.Name, err)
	}
	fmt.Fprintf(p.stdout, "No running gateway has the device %q; it is opened here", d.Name)
	if moves(d) {
		fmt.Fprint(p.stdout, ", which brings it into its initial state; at the end it goes into its safe state")
	}
	fmt.Fprintln(p.stdout, ".")

	visit := visitDevice(ctx, p, d)
	err = v.hold(ctx, p.stdout, d, visit, drivers.Command{Channel: channel, Value: parsed})
	failed := visit.close()
	if failed == nil && visit.holds.Load() {
		fmt.Fprintf(p.stdout, "%s: closed, in its safe state\n", d.Name)
	}
	return errors.Join(err, failed)
}

// hold sets a device that is being opened, and waits until it shall be closed.
func (v *setFlags) hold(ctx context.Context, w io.Writer, d field.DeviceConfig, visit *visit, c drivers.Command) error {
	timeout := time.NewTimer(v.timeout)
	defer timeout.Stop()
	var over <-chan time.Time // of the time that it is held
	var channels []drivers.Channel
	var told setAnswer
	set := false
	for {
		select {
		case <-ctx.Done():
			if !set {
				return fmt.Errorf("%s: stopped before there was an outcome", d.Name)
			}
			return nil
		case <-over:
			return nil
		case <-timeout.C:
			return fmt.Errorf("%s: no outcome came within %v; it may have acted", d.Name, v.timeout)
		case e := <-visit.events:
			switch {
			case e.offline != nil: // and opened again it would not be where it was set to
				return fmt.Errorf("%s is offline: %w", d.Name, e.offline)
			case e.online:
				if e.check == nil {
					return fmt.Errorf("%s: this device takes no commands", d.Name)
				}
				checked, err := e.check(c)
				if err != nil {
					return fmt.Errorf("%s: %w", d.Name, err)
				}
				if visit.meter.Load() && slices.ContainsFunc(e.channels, func(ch drivers.Channel) bool { return ch.Name == checked.Channel && ch.Cumulative }) {
					return fmt.Errorf("%s: nobody would keep what %s is set to: a meter goes on from what a running gateway keeps of it. Start the gateway, then set it", d.Name, checked.Channel)
				}
				channels = e.channels
				visit.jobs <- drivers.Job{Command: checked} // has room for one
			case e.reading != nil: // it may not stay where it was set to: max_on
				for _, v := range e.reading.Values {
					if set && v.Channel == told.Channel && v.V != told.Value {
						told.Value = v.V
						printSet(w, told)
					}
				}
			case e.err != nil:
				return fmt.Errorf("%s: %w", d.Name, e.err)
			default:
				timeout.Stop()
				set = true
				told = outcomeHere(d, channels, e)
				printSet(w, told)
				switch {
				case v.keep > 0:
					fmt.Fprintf(w, "Held for %v, or until Ctrl-C.\n", v.keep)
					over = time.After(v.keep)
				case visit.holds.Load():
					fmt.Fprintln(w, "Held until Ctrl-C.")
				default:
					return nil
				}
			}
		}
	}
}

// outcomeHere is the state of the channel that was set, or what it was set to.
func outcomeHere(d field.DeviceConfig, channels []drivers.Channel, e visitEvent) setAnswer {
	a := setAnswer{Device: d.Name, Channel: e.set.Channel, Value: e.set.Value, Unit: unitOf(channels, e.set.Channel)}
	for _, v := range e.result.Values {
		if v.Channel == e.set.Channel {
			a.Value = v.V
		}
	}
	return a
}
