package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

func alarmVerb() verb {
	return verb{
		name:    "alarm",
		args:    "ls|clear [flags] [NAME]",
		summary: "show what somebody must look at, and say that it was seen",
		about: "An alarm is a retained message below <prefix>/alarm.\n\n" +
			"  ls          all of them, with what they say and since when\n" +
			"  clear NAME  somebody has seen it. The alarm \"store\" comes back at every start until then.\n" +
			"              \"disk\", \"clock\" and \"orphan-queue\" go by themselves, and are not cleared while\n" +
			"              their cause is there\n\n" +
			"Asks the running gateway. Exit code 3 when no gateway is running.",
		example: "gateway alarm ls\ngateway alarm clear store",
		setup: func(f *flag.FlagSet) action {
			asJSON := f.Bool("json", false, "ls as JSON")
			where := socketFlags(f)
			return func(ctx context.Context, p *process, words []string) error {
				switch {
				case len(words) == 1 && words[0] == "ls":
					return listAlarms(ctx, p, where, *asJSON)
				case len(words) == 2 && words[0] == "clear":
					return clearAlarm(ctx, p, where, words[1])
				case len(words) > 0 && words[0] == "clear":
					return usageError("name one alarm: gateway alarm clear NAME")
				}
				return usageError("say what to do: ls, or clear NAME")
			}
		},
	}
}

func listAlarms(ctx context.Context, p *process, where *socketChoice, asJSON bool) error {
	var answer bytes.Buffer
	if err := where.askGateway(ctx, p, http.MethodGet, "/v1/alarms", &answer); err != nil {
		return err
	}
	if asJSON {
		_, err := answer.WriteTo(p.stdout)
		return err
	}
	var list []alarmInfo
	if err := understand(answer.Bytes(), &list); err != nil {
		return err
	}
	printAlarms(p.stdout, list)
	return nil
}

func printAlarms(w io.Writer, list []alarmInfo) {
	if len(list) == 0 {
		fmt.Fprintln(w, "There are no alarms.")
	}
	for _, a := range list {
		since := ""
		if a.Since != nil {
			since = "  since " + a.Since.Format(time.RFC3339)
		}
		end := "stays until \"gateway alarm clear " + printable(a.Name) + "\""
		if a.Cause != "" {
			end = "goes by itself when its cause does"
		}
		fmt.Fprintf(w, "%s%s  (%s)\n  %s\n\n", printable(a.Name), since, end, printable(a.Text))
	}
}

func clearAlarm(ctx context.Context, p *process, where *socketChoice, name string) error {
	if err := where.askGateway(ctx, p, http.MethodPost, "/v1/alarms/clear?"+url.Values{"name": {name}}.Encode(), io.Discard); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s: cleared\n", printable(name))
	return nil
}
