package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"edgegateway/bridge/field"
	"edgegateway/config"
	"edgegateway/config/strict"
	"edgegateway/drivers/all"
)

func runVerb() verb {
	return verb{
		name:    "run",
		args:    "[-config FILE]",
		summary: "run the gateway until Ctrl-C or SIGTERM",
		about: "Runs the gateway. Without a file it is a broker on 127.0.0.1:1883, this machine's own sensors\n" +
			"and a status page on 127.0.0.1:8080, with its data in $STATE_DIRECTORY or ./gateway-data.\n" +
			"The first Ctrl-C or SIGTERM stops it cleanly, a second one at once. SIGHUP to one without a terminal,\n" +
			"as \"systemctl reload gateway\" sends it, has it read its configuration, and if there is no mistake in it,\n" +
			"stop and start with that.",
		example: "gateway run\ngateway run -config /etc/gateway/gateway.toml",
		setup: func(f *flag.FlagSet) action {
			file := f.String("config", "", "read the configuration from `FILE`")
			return func(ctx context.Context, p *process, args []string) error {
				if err := noArguments(args); err != nil {
					return err
				}
				return runGateway(ctx, p, func() (config.Config, error) { return checkedConfig(*file, p.getenv) })
			}
		},
	}
}

// loadConfig reads a configuration file; without one it is the gateway's own default.
func loadConfig(path string, getenv func(string) string) (config.Config, error) {
	if path != "" {
		return config.Load(path, getenv)
	}
	hostname, _ := os.Hostname() // without one there is a default
	return config.Default(getenv, hostname), nil
}

// checkedConfig also has the kinds of the devices look at their options, so that all mistakes of a file come
// in one run.
func checkedConfig(path string, getenv func(string) string) (config.Config, error) {
	cfg, err := loadConfig(path, getenv)
	found := field.Check(field.Config{Prefix: cfg.Prefix, Devices: cfg.Devices}, all.Kinds())
	if several := strict.All(errors.Join(err, found)); several != nil {
		return cfg, several
	}
	return cfg, errors.Join(err, found) // without a file there are no places
}

// announce says where the gateway listens: in the log where a program reads it, else as a few lines.
func (g *gateway) announce(p *process, logged bool) {
	if logged {
		facts := []any{slog.String("id", g.cfg.ID), slog.String("version", version)}
		for _, l := range g.listens {
			facts = append(facts, slog.String(l.What, l.Address))
		}
		g.log.Info("ready", facts...)
		return
	}
	fmt.Fprintf(p.stdout, "gateway %s, version %s\n", g.cfg.ID, version)
	for _, l := range g.listens {
		fmt.Fprintf(p.stdout, "  %-6s %s\n", l.What, l.Address)
	}
	fmt.Fprintf(p.stdout, "  %-6s %s/\n", "topics", g.cfg.Prefix)
	if try := g.tryLine(); try != "" {
		fmt.Fprintf(p.stdout, "  %-6s %s\n", "try", try)
	}
	fmt.Fprintln(p.stdout, "ready")
}

// tryLine is a command that shows what flows; "" without a plain TCP listener.
func (g *gateway) tryLine() string {
	for _, l := range g.listens {
		address, ok := strings.CutPrefix(l.Address, "tcp://")
		if !ok {
			continue
		}
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			continue
		}
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			host = "localhost"
		}
		return fmt.Sprintf("mosquitto_sub -h %s -p %s -v -t '%s/#'", host, port, g.cfg.Prefix)
	}
	return ""
}
