package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"edgegateway/config"
	"edgegateway/config/strict"
	"edgegateway/status"
)

func checkVerb() verb {
	return verb{
		name:    "check",
		args:    "[-config FILE] [-offline]",
		summary: "check configuration, files, ports and clouds without starting anything",
		about: "Prints one line per check: ok, or problem and what to do. Run it as the user that the gateway\n" +
			"runs as, since files and ports depend on it. No device is opened: that a port, bus or line is not\n" +
			"there, or not for this user, is a warning, and gateway read shows whether the device answers.\n" +
			"Exit code 1 if there is a problem.",
		example: "gateway check -config /etc/gateway/gateway.toml\nsudo -u gateway gateway check -config /etc/gateway/gateway.toml -offline",
		setup: func(f *flag.FlagSet) action {
			file := f.String("config", "", "check the configuration in `FILE`; without it, the default one")
			offline := f.Bool("offline", false, "do not try to reach the clouds")
			return func(ctx context.Context, p *process, args []string) error {
				if err := noArguments(args); err != nil {
					return err
				}
				return check(ctx, p, *file, *offline)
			}
		},
	}
}

// check goes from what needs nothing to what needs the network.
func check(ctx context.Context, p *process, file string, offline bool) error {
	c := checker{out: p.stdout}
	cfg, err := checkedConfig(file, p.getenv)
	c.config(file, err)
	if err != nil {
		return c.verdict()
	}
	report, runErr := ask(ctx, controlPaths(p.getenv, cfg.DataDir))
	if runErr == nil && !sameDir(filepath.Dir(report.Store.Path), cfg.DataDir) {
		report, runErr = status.Report{}, status.ErrNotRunning // it is another gateway: its ports are not free
	}
	switch {
	case runErr == nil:
		c.ok("gateway", "version %s runs on this data_dir, up %s: its ports count as free", report.Gateway.Version, showSeconds(report.Gateway.Uptime))
	case !errors.Is(runErr, status.ErrNotRunning):
		c.problem("gateway", "%v", runErr)
	}
	c.files(cfg)
	c.dataDir(cfg.DataDir)
	c.ports(cfg, report.Gateway.Listens)
	c.devices(cfg)
	c.routes(cfg)
	c.loops(cfg)
	if offline {
		c.ok("clouds", "not tried (-offline)")
	} else {
		c.clouds(ctx, cfg.ID, cfg.Cloud)
	}
	return c.verdict()
}

// A checker prints results and counts problems.
type checker struct {
	out                io.Writer
	problems, warnings int
}

func (c *checker) ok(what, format string, args ...any) {
	fmt.Fprintf(c.out, "ok       %-22s %s\n", what, fmt.Sprintf(format, args...))
}

func (c *checker) problem(what, format string, args ...any) {
	c.problems++
	fmt.Fprintf(c.out, "problem  %-22s %s\n", what, fmt.Sprintf(format, args...))
}

// warning is for what the gateway runs with, and somebody should look at.
func (c *checker) warning(what, format string, args ...any) {
	c.warnings++
	fmt.Fprintf(c.out, "warning  %-22s %s\n", what, fmt.Sprintf(format, args...))
}

// verdict is the exit code; all has been said.
func (c *checker) verdict() error {
	if c.problems == 0 && c.warnings == 0 {
		fmt.Fprintln(c.out, "\nno problem found")
		return nil
	}
	if c.problems == 0 {
		fmt.Fprintf(c.out, "\nno problem found, %s\n", plural(int64(c.warnings), "warning"))
		return nil
	}
	fmt.Fprintf(c.out, "\n%s found\n", plural(int64(c.problems), "problem"))
	return exitError{code: exitFailed}
}

// config prints the mistakes of the configuration, each with its position.
func (c *checker) config(file string, err error) {
	name := file
	if name == "" {
		name = "none, the defaults are used"
	}
	if err == nil {
		c.ok("configuration", "%s", name)
		return
	}
	if several := strict.All(err); several != nil {
		for _, one := range several {
			c.problem("configuration", "%v", one)
		}
		return
	}
	for one := range strings.Lines(err.Error()) {
		c.problem("configuration", "%s", strings.TrimSpace(one))
	}
}

// devices looks whether what each needs is there and may be opened. It opens none: that could move something, so
// whether it answers is for the running gateway to say, or for gateway read.
func (c *checker) devices(cfg config.Config) {
	for _, d := range cfg.Devices {
		for _, doubt := range slices.Concat(quantityDoubts(d), intervalDoubts(d), channelDoubts(d)) {
			c.warning("device "+d.Name, "%v", doubt)
		}
		if err := kindOf(d).Reach(optionsOf(d), ""); err != nil { // it may be plugged in later
			c.warning("device "+d.Name, "%v", err)
			continue
		}
		c.ok("device "+d.Name, "its options fit the kind %s", d.Kind)
	}
	if len(cfg.Devices) == 0 {
		c.ok("devices", "none configured")
	}
}
