package main

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// settleTimeout is how long the end of the demo waits for what is still on its way.
const settleTimeout = 4 * time.Second

// settle restores the link, lets arrive what waits, and prints what was counted.
func (d *demo) settle() {
	d.giveBack()
	d.link.Set(true)
	deadline := time.NewTimer(settleTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(frameEvery / 4)
	defer tick.Stop()
	for d.tally.counts().Missing > 0 {
		select {
		case <-tick.C:
			continue
		case <-deadline.C:
		}
		break
	}
	c := d.tally.counts()
	waiting := int64(0) // of what is missing; a queue that holds what came after the count is none of it
	for _, b := range d.gateway.clouds {
		waiting = min(c.Missing, waiting+int64(b.Status().Queued))
	}
	lost := c.Missing - waiting
	st := d.gateway.store.Stats()
	out := d.p.stdout
	fmt.Fprintf(out, "\npublished %s   arrived %s   lost %d   duplicates %d   out of order %d\n", showCount(c.Published), showCount(c.Arrived), lost, c.Duplicates, c.Disordered)
	if c.Duplicates > 0 {
		fmt.Fprintln(out, "a duplicate was on its way when the link was cut: QoS 1 sends it again, at QoS 2 it would arrive once")
	}
	if waiting > 0 {
		fmt.Fprintf(out, "%s still waited in the gateway; a gateway that runs on delivers them\n", plural(waiting, "message"))
	}
	if c.Strange > 0 {
		fmt.Fprintf(out, "%s had waited since an earlier run\n", plural(c.Strange, "message"))
	}
	fmt.Fprintf(out, "the link was cut %s; at most %s waited\n", times(d.cuts), plural(d.most, "message"))
	fmt.Fprintf(out, "written to disk: %s in %s; %s avoided\n", showBytes(st.BytesWritten), plural(st.Commits, "commit"), plural(st.Cancelled, "write"))
	if d.keep {
		fmt.Fprintf(out, "data and log: %s\n", d.dir)
	}
}

func times(n int) string {
	switch n {
	case 0:
		return "never"
	case 1:
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// close ends everything that was opened, in reverse, and removes the directory.
func (d *demo) close() error {
	d.giveBack()
	var errs []error
	if d.gateway != nil {
		errs = append(errs, d.gateway.close())
	}
	if d.cloud != nil {
		errs = append(errs, d.cloud.close())
	}
	if d.logFile != nil {
		errs = append(errs, d.logFile.Close())
	}
	if d.dir != "" && !d.keep {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}
