package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"edgegateway/drivers"
	"edgegateway/drivers/all"
)

func devicesVerb() verb {
	return verb{
		name:    "devices",
		args:    "[-scan] [KIND]",
		summary: "list the kinds of devices, or show how to configure one",
		about: "Lists what can stand as kind in a [[devices]] section. With a kind it prints an example section.\n" +
			"With -scan it asks who is on the I2C buses of this machine; that is harmless to almost all chips.",
		example: "gateway devices\ngateway devices serial-line\ngateway devices -scan",
		setup: func(f *flag.FlagSet) action {
			scan := f.Bool("scan", false, "ask who is on the I2C buses of this machine")
			return func(ctx context.Context, p *process, args []string) error {
				kinds := all.Kinds()
				if *scan {
					if len(args) > 0 {
						return usageError("-scan looks at all buses: name no kind with it")
					}
					return showLooks(p.stdout, all.Scan(ctx))
				}
				switch len(args) {
				case 0:
					t := tabwriter.NewWriter(p.stdout, 0, 0, 3, ' ', 0)
					for _, k := range kinds {
						fmt.Fprintf(t, "%s\t%s\n", k.Name, k.Summary)
					}
					fmt.Fprintf(t, "\nAn example of one: gateway devices %s\n", kinds[0].Name)
					return t.Flush()
				case 1:
					i := slices.IndexFunc(kinds, func(k drivers.Kind) bool { return k.Name == args[0] })
					if i < 0 {
						return fmt.Errorf("there is no kind %q; the kinds are %s", args[0], strings.Join(names(kinds), ", "))
					}
					_, err := fmt.Fprintf(p.stdout, "# %s\n\n%s\n", kinds[i].Summary, strings.TrimSpace(kinds[i].Example))
					return err
				default:
					return usageError("name one kind at most")
				}
			}
		},
	}
}

// showLooks prints what was found on each bus. That one cannot be used is an answer;
// that none can is an error.
func showLooks(w io.Writer, looks []all.Look) error {
	var failed []error
	for _, l := range looks {
		if l.Err != nil {
			failed = append(failed, l.Err)
		}
	}
	if len(failed) == len(looks) {
		return errors.Join(failed...)
	}
	for _, l := range looks {
		fmt.Fprintln(w, l.Where)
		for _, line := range l.Found {
			fmt.Fprintf(w, "  %s\n", line)
		}
		switch {
		case l.Err != nil:
			fmt.Fprintf(w, "  %v\n", l.Err)
		case len(l.Found) == 0:
			fmt.Fprintln(w, "  nobody answers; check wiring and power of the chips")
		}
	}
	return nil
}

func names(kinds []drivers.Kind) []string {
	var all []string
	for _, k := range kinds {
		all = append(all, k.Name)
	}
	return all
}
