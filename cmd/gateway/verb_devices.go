package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"edgegateway/drivers"
	"edgegateway/drivers/all"
)

func devicesVerb() verb {
	return verb{
		name:    "devices",
		args:    "[KIND]",
		summary: "list the kinds of devices, or show how to configure one",
		about:   "Lists what can stand as kind in a [[devices]] section. With a kind it prints an example section.",
		example: "gateway devices\ngateway devices serial-line",
		setup: func(*flag.FlagSet) action {
			return func(_ context.Context, p *process, args []string) error {
				kinds := all.Kinds()
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

func names(kinds []drivers.Kind) []string {
	var all []string
	for _, k := range kinds {
		all = append(all, k.Name)
	}
	return all
}
