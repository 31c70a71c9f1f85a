package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"
)

func demoVerb() verb {
	return verb{
		name:    "demo",
		args:    "[-outage 20s -every 60s] [-for 1m] [-data DIR]",
		summary: "see a gateway work, with a stand-in cloud and a link that can be cut",
		about: "Runs a gateway with a few devices and, in the same process, a stand-in for a cloud broker. The\n" +
			"link between the two can be cut: by itself once after 8 s, with the key c, or on the status\n" +
			"page. What is published meanwhile waits in the gateway and arrives when the link is back; every\n" +
			"message is counted on both sides. The link is as thin as one by radio, 2 KiB a second, so that\n" +
			"one can watch a backlog drain. Nothing leaves this machine and nothing stays on it. When the\n" +
			"output is not a terminal, one line is printed each second.",
		example: "gateway demo\ngateway demo -outage 20s -every 60s",
		setup: func(f *flag.FlagSet) action {
			var o demoOptions
			// 8 s: one sees the flow before it stops, and sees it drain within half a minute.
			f.DurationVar(&o.first, "first", 8*time.Second, "cut the link by itself for the first time after `TIME`")
			f.DurationVar(&o.outage, "outage", 8*time.Second, "how long the link is cut by itself, as `TIME`")
			f.DurationVar(&o.every, "every", 0, "cut it again each `TIME`, without a key being pressed")
			f.DurationVar(&o.length, "for", 0, "end after `TIME`")
			f.BoolVar(&o.anyPort, "anyport", false, "let the system choose the ports, also if 1883 and 8080 are free")
			f.StringVar(&o.data, "data", "", "keep the data in `DIR` instead of a directory that is removed at the end")
			return func(ctx context.Context, p *process, args []string) error {
				if err := noArguments(args); err != nil {
					return err
				}
				if err := o.validate(); err != nil {
					return err
				}
				return runDemo(ctx, p, o)
			}
		},
	}
}

type demoOptions struct {
	first, outage, every, length time.Duration
	data                         string
	anyPort                      bool
}

func (o demoOptions) validate() error {
	switch {
	case o.first < time.Second:
		return usageError("-first must be at least 1s")
	case o.outage < time.Second:
		return usageError("-outage must be at least 1s")
	case o.every != 0 && o.every <= o.outage:
		return usageError(fmt.Sprintf("-every must be longer than -outage, which is %v", o.outage))
	case o.length < 0:
		return usageError("-for must not be negative")
	}
	return nil
}

func runDemo(ctx context.Context, p *process, o demoOptions) (err error) {
	d, err := openDemo(p, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.watch(ctx); err != nil {
		return err
	}
	d.settle()
	return nil
}
