package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

func queueVerb() verb {
	return verb{
		name:    "queue",
		args:    "ls|peek|export|purge|requeue|mv [flags] [QUEUE ...]",
		summary: "look into the queues, empty them, move them to another cloud",
		about: "A queue holds what a cloud or a client that is away has not acknowledged. QUEUE is a name that\n" +
			"ls shows, the name of a cloud, or a client identifier.\n\n" +
			"  ls                     all queues, with what waits in them\n" +
			"  peek QUEUE             the next messages of one, printable\n" +
			"  export QUEUE           all messages as JSON, one per line\n" +
			"  purge QUEUE            take all messages out; nobody gets them any more\n" +
			"  requeue QUEUE [SEQ...] send rejected messages again, as new ones behind all others:\n" +
			"                         those with these numbers, or all\n" +
			"  mv FROM TO             move the messages for a cloud that is not configured any more, because\n" +
			"                         it was renamed or removed, to the queue of one that is. What may have\n" +
			"                         been sent to the old cloud goes along as new, so it may arrive twice.\n" +
			"                         The routes of the new cloud decide where each message goes\n\n" +
			"-rejected means those messages that their receiver will never take. Of a message that may have\n" +
			"been sent purge takes the content, and keeps its packet identifier until its receiver has\n" +
			"answered, else the next message with it would be taken for a repetition. When nothing is left\n" +
			"for a cloud that is not configured, its queue goes, with all that was known of its session.\n\n" +
			"Asks the running gateway; while none runs, works on its file.",
		example: "gateway queue ls\ngateway queue peek -n 3 acme\ngateway queue export -rejected acme > rejected.jsonl\n" +
			"gateway queue requeue acme 17 21\ngateway queue purge -yes pump-7\ngateway queue mv old-name new-name",
		setup: func(f *flag.FlagSet) action {
			v := &queueFlags{where: socketFlags(f)}
			f.IntVar(&v.n, "n", 0, "show at most `N` messages (peek: 10 if not given; export: all)")
			f.BoolVar(&v.rejected, "rejected", false, "peek, export, purge: those that the receiver will never take")
			f.BoolVar(&v.json, "json", false, "ls as JSON")
			f.BoolVar(&v.yes, "yes", false, "purge without asking")
			return func(ctx context.Context, p *process, words []string) error {
				if len(words) == 0 {
					return usageError("say what to do: ls, peek, export, purge, requeue or mv")
				}
				return v.do(ctx, p, words[0], words[1:])
			}
		},
	}
}

type queueFlags struct {
	where               *socketChoice
	n                   int
	rejected, json, yes bool
}

func (v *queueFlags) do(ctx context.Context, p *process, what string, names []string) error {
	switch what {
	case "ls":
		if err := noArguments(names); err != nil {
			return err
		}
		return listQueues(ctx, p, v.where, v.json)
	case "mv":
		if len(names) != 2 {
			return usageError("name two queues: gateway queue mv FROM TO")
		}
		return v.move(ctx, p, names[0], names[1])
	case "requeue":
		if len(names) == 0 {
			return usageError("name a queue: gateway queue requeue QUEUE [SEQ...]")
		}
		return v.requeue(ctx, p, names[0], names[1:])
	case "peek", "export", "purge":
	default:
		return usageError(fmt.Sprintf("queue knows ls, peek, export, purge, requeue and mv, not %q", what))
	}
	if len(names) != 1 {
		return usageError(fmt.Sprintf("name one queue: gateway queue %s QUEUE", what))
	}
	if what == "purge" {
		return v.purge(ctx, p, names[0])
	}
	return v.show(ctx, p, what, names[0])
}

// show prints messages: for people, or all as they are.
func (v *queueFlags) show(ctx context.Context, p *process, what, name string) error {
	q := url.Values{"queue": {name}}
	if v.rejected {
		q.Set("rejected", "1")
	}
	if v.n > 0 {
		q.Set("n", strconv.Itoa(v.n))
	} else if what == "peek" {
		q.Set("n", "10")
	}
	path := "/v1/queues/entries?" + q.Encode()
	if what == "export" {
		out := bufio.NewWriter(p.stdout)
		if err := v.where.askStore(ctx, p, http.MethodGet, path, out); err != nil {
			return err
		}
		return out.Flush()
	}
	var answer bytes.Buffer // of a few messages
	if err := v.where.askStore(ctx, p, http.MethodGet, path, &answer); err != nil {
		return err
	}
	return printEntries(p.stdout, &answer)
}

func listQueues(ctx context.Context, p *process, where *socketChoice, asJSON bool) error {
	var answer bytes.Buffer
	if err := where.askStore(ctx, p, http.MethodGet, "/v1/queues", &answer); err != nil {
		return err
	}
	if asJSON {
		_, err := answer.WriteTo(p.stdout)
		return err
	}
	var list []queueInfo
	if err := understand(answer.Bytes(), &list); err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(p.stdout, "There are no queues: no cloud is configured, and no client has a session that outlives its connection.")
		return nil
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "QUEUE\tFOR\tMESSAGES\tBYTES\tOLDEST\tIN FLIGHT\tNOTES\n")
	for _, q := range list {
		oldest := "-"
		if q.Oldest != nil {
			oldest = showSeconds(*q.Oldest)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", printable(q.Name), printable(q.Owner), showCount(int64(q.Messages)), showBytes(q.Bytes), oldest, q.InFlight, notes(q))
	}
	return t.Flush()
}

// notes is what is unusual about a queue.
func notes(q queueInfo) string {
	var list []string
	switch {
	case q.Orphan && strings.HasPrefix(q.Name, clientQueue):
		list = append(list, "ORPHAN: the session of this client was lost")
	case q.Orphan:
		list = append(list, "ORPHAN: this cloud is not configured")
	}
	for _, c := range []struct {
		n    int64
		what string
	}{{q.Dropped, "dropped"}, {q.Refused, "refused"}, {q.Damaged, "damaged"}, {int64(q.Kept), "rejected, kept to be looked at"}} {
		if c.n > 0 {
			list = append(list, showCount(c.n)+" "+c.what)
		}
	}
	return strings.Join(list, ", ")
}

func printEntries(w io.Writer, answer io.Reader) error {
	lines := json.NewDecoder(answer)
	for n := 0; ; n++ {
		var e queueEntry
		if err := lines.Decode(&e); err == io.EOF {
			if n == 0 {
				fmt.Fprintln(w, "The queue is empty.")
			}
			return nil
		} else if err != nil {
			return fmt.Errorf("the gateway's answer is cut or not JSON: %w", err)
		}
		if e.Error != "" {
			fmt.Fprintf(w, "#%d  %s\n\n", e.Seq, e.Error)
			continue
		}
		flags := fmt.Sprintf("QoS %d", e.QoS)
		if e.Retain {
			flags += ", retained"
		}
		if e.MaybeSent {
			flags += ", may have been sent"
		}
		if e.At != nil {
			flags += ", " + e.At.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "#%d  %s\n  %s, %s, id %s\n", e.Seq, printable(e.Topic), flags, showBytes(int64(e.Size)), e.ID)
		if e.Reason != "" {
			fmt.Fprintf(w, "  rejected: %s\n", printable(e.Reason))
		}
		fmt.Fprintf(w, "  %s\n\n", payloadLine(e))
	}
}

// longestPayload is what peek shows of a payload, bytes.
const longestPayload = 200

func payloadLine(e queueEntry) string {
	text, rest := "", 0
	if e.Payload != nil {
		text = *e.Payload
		if rest = len(text) - longestPayload; rest > 0 {
			text = strings.ToValidUTF8(text[:longestPayload], "")
		}
		text = printable(text)
	} else {
		b := e.Binary
		if rest = len(b) - longestPayload/4; rest > 0 {
			b = b[:longestPayload/4]
		}
		text = fmt.Sprintf("% x", b)
	}
	if rest > 0 {
		text += fmt.Sprintf(" ... and %s more", plural(int64(rest), "byte"))
	}
	if text == "" {
		return "(empty)"
	}
	return text
}

// printable keeps what a message says from moving the cursor.
func printable(s string) string {
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
