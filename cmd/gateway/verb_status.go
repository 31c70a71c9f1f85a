package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"edgegateway/status"
)

func statusVerb() verb {
	return verb{
		name:    "status",
		args:    "[-json] [-config FILE | -socket PATH]",
		summary: "show what the running gateway is doing",
		about: "Asks the running gateway over its control socket and prints devices, clouds, broker and\n" +
			"store. Exit code 3 when no gateway is running.",
		example: "gateway status\ngateway status -json | jq .clouds",
		setup: func(f *flag.FlagSet) action {
			asJSON := f.Bool("json", false, "print the report as JSON")
			where := socketFlags(f)
			return func(ctx context.Context, p *process, args []string) error {
				if err := noArguments(args); err != nil {
					return err
				}
				r, err := where.status(ctx, p)
				if err != nil {
					return err
				}
				if *asJSON {
					e := json.NewEncoder(p.stdout)
					e.SetIndent("", "  ")
					return e.Encode(r)
				}
				printReport(p.stdout, r)
				return nil
			}
		},
	}
}

// A socketChoice is the running gateway that a verb talks to.
type socketChoice struct{ config, socket string }

func socketFlags(f *flag.FlagSet) *socketChoice {
	var c socketChoice
	f.StringVar(&c.config, "config", "", "the `FILE` that the gateway was started with")
	f.StringVar(&c.socket, "socket", "", "`PATH` of its control socket")
	return &c
}

// packagedSocket is where the unit in systemd/gateway.service lets the gateway open its control socket.
const packagedSocket = "/run/gateway/control.sock"

// paths are the control sockets to try, in order.
func (c *socketChoice) paths(p *process) ([]string, error) {
	if c.socket != "" {
		return []string{c.socket}, nil
	}
	cfg, err := loadConfig(c.config, p.getenv)
	if err != nil {
		return nil, err
	}
	return controlPaths(p.getenv, cfg.DataDir), nil
}

// controlPaths is where a gateway with this data directory may have its control socket: where this process
// would open it, and where the service has it.
func controlPaths(getenv func(string) string, dataDir string) []string {
	paths := []string{status.ControlPath(getenv, dataDir)}
	if !slices.Contains(paths, packagedSocket) {
		paths = append(paths, packagedSocket)
	}
	return paths
}

// ask asks the first gateway that answers at one of the paths. The error is status.ErrNotRunning if none does.
func ask(ctx context.Context, paths []string) (status.Report, error) {
	for _, path := range paths {
		r, err := status.Dial(path).Status(ctx)
		if !errors.Is(err, status.ErrNotRunning) {
			return r, err
		}
	}
	return status.Report{}, status.ErrNotRunning
}

func (c *socketChoice) status(ctx context.Context, p *process) (status.Report, error) {
	paths, err := c.paths(p)
	if err != nil {
		return status.Report{}, err
	}
	r, err := ask(ctx, paths)
	if errors.Is(err, status.ErrNotRunning) {
		err = exitError{exitNotRunning, fmt.Sprintf("no gateway is running: nobody answers at %s. Start one with \"gateway run\", or name its socket with -socket.", strings.Join(paths, " or "))}
	}
	return r, err
}

func printReport(w io.Writer, r status.Report) {
	g := r.Gateway
	fmt.Fprintf(w, "%s   version %s   up %s   %s\n", g.ID, g.Version, showSeconds(g.Uptime), verdictOf(r))
	for _, p := range r.Problems {
		fmt.Fprintf(w, "  ! %s\n", p)
	}
	for _, a := range r.Alarms {
		since := ""
		if a.Since != nil {
			since = " (since " + a.Since.Format(time.RFC3339) + ")"
		}
		fmt.Fprintf(w, "  ! alarm %s%s: %s\n", printable(a.Name), since, printable(a.Text))
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	printDevices(t, r.Devices)
	printClouds(t, r.Clouds)
	b, s := r.Broker, r.Store
	fmt.Fprintf(t, "\nBROKER\n  %s\t%s in%s\t%s out%s\n", plural(int64(b.Clients), "client"), showCount(b.Received), perSecond(b.ReceivedRate), showCount(b.Sent), perSecond(b.SentRate))
	fmt.Fprintf(t, "  %s\t%s retained\t%s dropped\n", plural(int64(b.Subscriptions), "subscription"), showCount(int64(b.Retained)), showCount(b.Dropped))
	fmt.Fprintf(t, "\nSTORE\n  %s file\t%s written\t%s, %s\n", showBytes(s.FileBytes), showBytes(s.Written), plural(s.Commits, "commit"), plural(s.Syncs, "sync"))
	if s.LastError != "" {
		fmt.Fprintf(t, "  ! %s\n", s.LastError)
	}
	if s.Damage != "" {
		fmt.Fprintf(t, "  ! %s\n", s.Damage)
	}
	fmt.Fprint(t, "\nLISTENS\n")
	for _, l := range g.Listens {
		fmt.Fprintf(t, "  %s\t%s\n", l.What, l.Address)
	}
	t.Flush()
}

// verdictOf sums a report up in a few words.
func verdictOf(r status.Report) string {
	if n := len(r.Problems); n > 0 {
		return plural(int64(n), "problem")
	}
	var down []string
	if n := len(r.Alarms); n > 0 {
		down = append(down, plural(int64(n), "alarm"))
	}
	devices, links := r.Down()
	if devices > 0 {
		down = append(down, plural(int64(devices), "device")+" offline")
	}
	if links > 0 {
		down = append(down, plural(int64(links), "link")+" down")
	}
	if len(down) == 0 {
		return "healthy"
	}
	return strings.Join(down, ", ")
}

func printDevices(w io.Writer, devices []status.Device) {
	fmt.Fprint(w, "\nDEVICES\n")
	if len(devices) == 0 {
		fmt.Fprint(w, "  none configured\n")
	}
	width := widthOf(devices)
	for _, d := range devices {
		printDevice(w, "  ", width, d)
	}
}

// widthOf is that of the first column. A line with a reason ends a table, so the columns
// of all devices get one width by hand.
func widthOf(devices []status.Device) (width int) {
	for _, d := range devices {
		width = max(width, len(d.Name))
		for _, v := range d.Values {
			width = max(width, len(v.Channel)+2)
		}
	}
	return width
}

func printDevice(w io.Writer, indent string, width int, d status.Device) {
	state := "online"
	if !d.Online {
		state = "OFFLINE"
	}
	fmt.Fprintf(w, "%s%-*s\t%s\t%s\n", indent, width, d.Name, state, ago(d.Age))
	if !d.Online && d.Reason != "" {
		fmt.Fprintf(w, "%s  ! %s\n", indent, d.Reason)
	}
	if d.Online && d.Errors > 0 {
		fmt.Fprintf(w, "%s  %s, the last %s: %s\n", indent, plural(d.Errors, "error"), ago(d.ErrAge), printable(d.LastErr))
	}
	for _, lost := range d.Lost {
		fmt.Fprintf(w, "%s  ! %s\n", indent, lost)
	}
	for _, v := range d.Values {
		fmt.Fprintf(w, "%s  %-*s\t%s\n", indent, width-2, v.Channel, showReading(v))
	}
}

// showReading is a value with its unit, and what is to be said of it.
func showReading(v status.Value) string {
	switch {
	case v.Value == nil && v.Quality == "":
		return "no value"
	case v.Value == nil:
		return v.Quality
	case v.Quality != "":
		return printable(showValue(v.Value, v.Unit)) + " (" + v.Quality + ")"
	}
	return printable(showValue(v.Value, v.Unit))
}

func printClouds(w io.Writer, clouds []status.Cloud) {
	fmt.Fprint(w, "\nCLOUDS\n")
	if len(clouds) == 0 {
		fmt.Fprint(w, "  none configured\n")
	}
	for _, c := range clouds {
		state := "connected"
		if !c.Connected {
			state = "NO LINK"
		}
		if c.Since != nil {
			state += " for " + showSeconds(*c.Since)
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", c.Name, state, c.Server)
		waiting := showCount(c.Queued) + " waiting"
		if c.Queued > 0 {
			waiting += ", " + showBytes(c.QueuedBytes)
			if c.Oldest != nil {
				waiting += ", oldest " + showSeconds(*c.Oldest)
			}
		}
		fmt.Fprintf(w, "    %s\t%s acknowledged%s\t%s received\n", waiting, showCount(c.Sent), perSecond(c.SentRate), showCount(c.Received))
		if d := c.Draining; d != nil {
			fmt.Fprintf(w, "    backlog: %s left at %.0f per second, %s\n", showCount(d.Left), d.Rate, showRemaining(d.Remaining))
		}
		if c.Dropped+c.Expired+c.Rejected > 0 {
			fmt.Fprintf(w, "    ! %s dropped by a limit, %s too old, %s rejected by the cloud\n", showCount(c.Dropped), showCount(c.Expired), showCount(c.Rejected))
		}
		if c.Replaced+c.Purged > 0 {
			fmt.Fprintf(w, "    %s replaced by newer ones, %s purged\n", showCount(c.Replaced), showCount(c.Purged))
		}
		if c.SessionKept > 0 {
			fmt.Fprintf(w, "    the cloud keeps the session for %s: exactly once holds through cuts as long as that\n", showSeconds(c.SessionKept))
		}
		if c.LastError != "" {
			when := ""
			if c.ErrAge != nil {
				when = ", " + ago(c.ErrAge)
			}
			fmt.Fprintf(w, "    last error%s: %s\n", when, c.LastError)
		}
	}
}

func showRemaining(seconds *float64) string {
	if seconds == nil {
		return "and nobody knows for how long"
	}
	return "for " + showSeconds(*seconds) + " more"
}

func perSecond(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf(" (%.1f/s)", *v)
}

func ago(seconds *float64) string {
	if seconds == nil {
		return "no reading yet"
	}
	if *seconds < 1.5 {
		return "now"
	}
	return showSeconds(*seconds) + " ago"
}
