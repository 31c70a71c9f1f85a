package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"edgegateway/config/strict"
	"edgegateway/drivers"
	"edgegateway/drivers/all"
)

func devicesVerb() verb {
	return verb{
		name:    "devices",
		args:    "[-scan] [KIND]",
		summary: "list the kinds of devices, show how to configure one, scan the buses",
		about: "Lists what can stand as kind in a [[devices]] section. With a kind it prints an example section.\n" +
			"With -scan it shows what this machine has to connect devices to, with the line of [devices.options]\n" +
			"that means each: who answers on the I2C buses (to be asked is harmless to almost all chips), 1-wire\n" +
			"ids, sensors that the kernel has (iio), serial ports by the name that stays, and GPIO lines with who\n" +
			"uses them. What can not be looked at says what to do. Run it as root to see all users.",
		example: "gateway devices\ngateway devices serial-line\ngateway devices -scan",
		setup: func(f *flag.FlagSet) action {
			scan := f.Bool("scan", false, "show what is on the buses, ports and lines of this machine")
			return func(ctx context.Context, p *process, args []string) error {
				kinds := all.Kinds()
				if *scan {
					if len(args) > 0 {
						return usageError("-scan looks at everything: name no kind with it")
					}
					return showLooks(p.stdout, all.Scanner{}.Looks(ctx))
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
						if near := strict.Nearest(strings.ToLower(args[0]), names(kinds)); near != "" {
							return fmt.Errorf("there is no kind %q (did you mean %q?)", args[0], near)
						}
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

// showLooks prints what was found. That something can not be looked at is an answer; that
// nothing can is a failure.
func showLooks(w io.Writer, looks []all.Look) error {
	failed := 0
	for i, l := range looks {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, l.Where)
		width := 0
		for _, f := range l.Found {
			width = max(width, len(f.Option))
		}
		for _, f := range l.Found {
			fmt.Fprintf(w, "  %-*s  # %s\n", width, f.Option, printable(f.What))
			for _, note := range f.Notes {
				fmt.Fprintf(w, "  %-*s  # ! %s\n", width, "", printable(note))
			}
		}
		if l.Rest != "" {
			fmt.Fprintf(w, "  # %s\n", l.Rest)
		}
		if l.Err != nil {
			failed++
			fmt.Fprintf(w, "  # ! %v\n", l.Err)
		}
	}
	if failed == len(looks) {
		return exitError{code: exitFailed}
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
