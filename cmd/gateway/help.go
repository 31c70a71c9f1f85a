package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

func usage(w io.Writer) {
	fmt.Fprint(w, "An MQTT edge gateway: a local broker, this machine's devices, and bridges to clouds\nthat lose nothing while the link is down.\n\nUsage: gateway VERB [flags]\n\n")
	for _, v := range verbs() {
		if !v.hidden {
			fmt.Fprintf(w, "  %-9s %s\n", v.name, v.summary)
		}
	}
	fmt.Fprint(w, "\nSee it work:            gateway demo\nStart it on this host:  gateway run\nHelp for one verb:      gateway run --help\n")
}

func (v verb) help(w io.Writer, flags *flag.FlagSet) {
	line := "Usage: gateway " + v.name
	if v.args != "" {
		line += " " + v.args
	}
	fmt.Fprintf(w, "%s\n\n%s\n", line, v.about)
	heading := "\nFlags:\n"
	flags.VisitAll(func(f *flag.Flag) {
		name, text := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "%s  %s\n      %s", heading, strings.TrimSpace("-"+f.Name+" "+name), text)
		heading = ""
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0s" && f.DefValue != "0" {
			fmt.Fprintf(w, " (default %s)", f.DefValue)
		}
		fmt.Fprintln(w)
	})
	fmt.Fprintf(w, "\nExample:\n")
	for line := range strings.Lines(v.example) {
		fmt.Fprintf(w, "  %s", line)
	}
	fmt.Fprintln(w)
}

// suggest says what to type instead of a word that is no verb.
func suggest(word string, all []verb) string {
	var names []string
	for _, v := range all {
		if !v.hidden {
			names = append(names, v.name)
		}
	}
	best := nearest(word, names)
	if best == "" {
		return "Type \"gateway help\" for the list."
	}
	return fmt.Sprintf("Did you mean \"gateway %s\"? Type \"gateway help\" for the list.", best)
}

// nearest is the name that was probably meant; "" if none is near.
func nearest(word string, names []string) (best string) {
	distance := 3 // further away it is another word, not a slip
	for _, name := range names {
		if d := editDistance(word, name); d < distance && d < len(name) {
			best, distance = name, d
		}
	}
	return best
}

// editDistance counts the letters to insert, remove or replace to make b of a (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
