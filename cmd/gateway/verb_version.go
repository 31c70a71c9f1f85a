package main

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
)

func versionVerb() verb {
	return verb{
		name:    "version",
		summary: "print version, commit, Go version and platform",
		about:   "Prints what this binary was made from, for a report of an error.",
		example: "gateway version",
		setup: func(*flag.FlagSet) action {
			return func(_ context.Context, p *process, args []string) error {
				if err := noArguments(args); err != nil {
					return err
				}
				_, err := fmt.Fprintf(p.stdout, "gateway %s (commit %s, %s, %s/%s)\n", version, orUnknown(revision()), runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return err
			}
		},
	}
}

// revision is the commit that the linker was told, else the one that the go command noted.
func revision() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	rev, dirty := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			rev = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+changes"
			}
		}
	}
	if rev == "" {
		return ""
	}
	return rev + dirty
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
