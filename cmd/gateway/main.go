// Command gateway is an MQTT edge gateway: a local broker, this machine's devices, and bridges to clouds
// that lose nothing while the link is down.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// Set with -ldflags "-X main.version=... -X main.commit=...".
var (
	version = "dev"
	commit  = ""
)

// Exit codes, the same for every verb.
const (
	exitOK         = 0
	exitFailed     = 1 // what was asked for did not work
	exitUsage      = 2 // the command line is wrong
	exitNotRunning = 3 // no gateway is running
)

// A verb is one word of the command line.
type verb struct {
	name    string
	args    string // after the name in the usage line
	summary string // one line for the list
	about   string // a paragraph for --help
	example string // lines that can be typed as they stand
	hidden  bool   // not in the list; for the gateway's own use

	// setup declares the verb's flags and returns what runs once they are parsed.
	setup func(*flag.FlagSet) action
}

// An action runs until it is done or ctx ends. Its error is printed, as a sentence; see exitCode.
type action func(ctx context.Context, p *process, args []string) error

// verbs are all words, in the order of the list.
func verbs() []verb {
	return []verb{
		runVerb(), demoVerb(), checkVerb(), statusVerb(), queueVerb(), alarmVerb(), readVerb(), setVerb(), backupVerb(), restoreVerb(), devicesVerb(), passwdVerb(), benchVerb(), versionVerb(), checkStoreVerb(), salvageStoreVerb(),
	}
}

func main() {
	p := newProcess()
	ctx, stop := p.signals(context.Background())
	code := command(ctx, p, os.Args[1:])
	stop()
	os.Exit(code)
}

// command runs one command line and returns its exit code.
func command(ctx context.Context, p *process, args []string) int {
	if len(args) == 0 {
		usage(p.stderr)
		return exitUsage
	}
	name := args[0]
	switch name {
	case "help", "-h", "-help", "--help":
		if len(args) > 1 && name == "help" {
			return command(ctx, p, []string{args[1], "--help"})
		}
		usage(p.stdout)
		return exitOK
	case "-version", "--version":
		name = "version"
	}
	all := verbs()
	i := slices.IndexFunc(all, func(v verb) bool { return v.name == name })
	if i < 0 {
		fmt.Fprintf(p.stderr, "gateway: there is no verb %q. %s\n", name, suggest(name, all))
		return exitUsage
	}
	return all[i].run(ctx, p, args[1:])
}

func (v verb) run(ctx context.Context, p *process, args []string) int {
	flags := flag.NewFlagSet(v.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // its errors are printed below, once, with what to type next
	act := v.setup(flags)
	words, err := wordsOf(flags, args)
	if err == nil {
		err = act(ctx, p, words)
	} else if !errors.Is(err, flag.ErrHelp) {
		err = usageError(unparsed(err, flags))
	}
	if errors.Is(err, flag.ErrHelp) {
		v.help(p.stdout, flags)
		return exitOK
	}
	if err != nil && err.Error() != "" {
		fmt.Fprintln(p.stderr, "gateway: "+err.Error())
	}
	if code := exitCode(err); code != exitUsage {
		return code
	}
	fmt.Fprintf(p.stderr, "Type \"gateway %s --help\" for its flags and an example.\n", v.name)
	return exitUsage
}

// unparsed says what is wrong with the flags. Package flag calls a duration that it can not read a parse error.
func unparsed(err error, flags *flag.FlagSet) string {
	text := err.Error()
	said, broken := strings.CutSuffix(text, ": parse error")
	_, name, found := strings.Cut(said, " for flag -")
	if !broken || !found || flags.Lookup(name) == nil {
		return text
	}
	if g, ok := flags.Lookup(name).Value.(flag.Getter); ok {
		switch g.Get().(type) {
		case time.Duration:
			return said + ": it wants a duration such as 1s or 5m"
		case int, int64, uint, uint64:
			return said + ": it wants a whole number"
		case float64:
			return said + ": it wants a number"
		}
	}
	return text
}

// usageError is a mistake in the command line.
type usageError string

func (e usageError) Error() string { return string(e) }

// exitError carries an exit code of its own. An empty text means that all has been said already.
type exitError struct {
	code int
	text string
}

func (e exitError) Error() string { return e.text }

func exitCode(err error) int {
	var exit exitError
	var use usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &use):
		return exitUsage
	}
	return exitFailed
}

// noArguments is the first line of verbs that take flags alone.
func noArguments(args []string) error {
	switch {
	case len(args) > 0 && strings.HasSuffix(args[0], ".toml"):
		return usageError(fmt.Sprintf("%q is one word too many; a configuration is named by -config %s", args[0], args[0]))
	case len(args) > 0:
		return usageError(fmt.Sprintf("%q is one word too many", args[0]))
	}
	return nil
}
