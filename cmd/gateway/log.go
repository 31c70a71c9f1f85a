package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
)

// newLog makes the gateway's log. Under systemd the journal knows the time of each line already.
func newLog(w io.Writer, level slog.Leveler, json, journal bool) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if journal {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	if json {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// toJournal reports whether w is the stream that systemd connected to the journal. JOURNAL_STREAM alone
// does not tell: it is inherited by children whose output goes elsewhere (systemd.exec(5)).
func toJournal(getenv func(string) string, w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || getenv("JOURNAL_STREAM") == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", uint64(st.Dev), st.Ino)
}
