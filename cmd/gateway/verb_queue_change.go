package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/term"
)

func (v *queueFlags) purge(ctx context.Context, p *process, name string) error {
	what := "all messages"
	if v.rejected {
		what = "the rejected messages"
	}
	if !v.yes {
		if err := confirm(p, fmt.Sprintf("Purge %s in queue %s? Nobody will get them any more.", what, name)); err != nil {
			return err
		}
	}
	q := url.Values{"queue": {name}}
	if v.rejected {
		q.Set("rejected", "1")
	}
	return v.change(ctx, p, "purge", q)
}

func (v *queueFlags) requeue(ctx context.Context, p *process, name string, seqs []string) error {
	for i := range seqs {
		seqs[i] = strings.TrimPrefix(seqs[i], "#") // as peek prints it
	}
	return v.change(ctx, p, "requeue", url.Values{"queue": {name}, "seq": seqs})
}

func (v *queueFlags) move(ctx context.Context, p *process, from, to string) error {
	return v.change(ctx, p, "mv", url.Values{"from": {from}, "to": {to}})
}

// confirm asks a person.
func confirm(p *process, question string) error {
	if !term.IsTerminal(int(p.stdin.Fd())) {
		return errors.New("nothing is changed: standard input is no terminal to ask at, so say -yes if you mean it")
	}
	fmt.Fprintf(p.stderr, "%s [y/N] ", question)
	line, err := bufio.NewReader(p.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing is changed")
}

func (v *queueFlags) change(ctx context.Context, p *process, what string, q url.Values) error {
	var answer bytes.Buffer
	if err := v.where.askStore(ctx, p, http.MethodPost, "/v1/queues/"+what+"?"+q.Encode(), &answer); err != nil {
		return err
	}
	var a changeAnswer
	if err := understand(answer.Bytes(), &a); err != nil {
		return err
	}
	queue := printable(a.Queue)
	switch what {
	case "purge":
		fmt.Fprintf(p.stdout, "%s: %s purged\n", queue, plural(int64(a.Purged), "message"))
		if a.Kept > 0 {
			fmt.Fprintf(p.stdout, "%s of these may have been sent: the content is gone, the packet identifier is kept until the receiver answers\n", showCount(int64(a.Kept)))
		}
	case "requeue":
		fmt.Fprintf(p.stdout, "%s: %s to be sent again\n", queue, plural(int64(a.Requeued), "message"))
	case "mv":
		fmt.Fprintf(p.stdout, "%s: %s moved to %s\n", queue, plural(int64(a.Moved), "message"), printable(a.To))
		if a.Replaced > 0 {
			fmt.Fprintf(p.stdout, "%s dropped: that queue keeps the last value, and has newer ones\n", plural(int64(a.Replaced), "message"))
		}
	}
	switch {
	case a.Dropped:
		fmt.Fprintf(p.stdout, "the queue is gone, and what was known of the session of that cloud\n")
	case a.Rejected > 0 && what != "requeue":
		fmt.Fprintf(p.stdout, "%s left in its list of rejected ones: look with \"gateway queue peek -rejected %s\", then \"requeue\" or \"purge -rejected\"\n", plural(int64(a.Rejected), "message"), queue)
	}
	switch {
	case a.Interruption != "":
		return fmt.Errorf("then it was interrupted: %s. What is left is where it was; the same command goes on", a.Interruption)
	case len(a.Unknown) > 0:
		return fmt.Errorf("not among the rejected messages: %s. \"gateway queue peek -rejected %s\" shows them", strings.Trim(fmt.Sprint(a.Unknown), "[]"), queue)
	}
	return nil
}
