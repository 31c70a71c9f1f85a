package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestJournalGetsNoTimestamps(t *testing.T) {
	for _, c := range []struct {
		json, journal bool
		want          string
	}{
		{false, true, "level=WARN msg=x a=1\n"},
		{true, true, `{"level":"WARN","msg":"x","a":1}` + "\n"},
		{false, false, "time="},
		{true, false, `{"time":`},
	} {
		var b bytes.Buffer
		log := newLog(&b, slog.LevelInfo, c.json, c.journal)
		log.Debug("not this")
		log.Warn("x", "a", 1)
		if got := b.String(); !strings.HasPrefix(got, c.want) || c.journal && got != c.want {
			t.Errorf("json %t, journal %t: %q, want %q", c.json, c.journal, got, c.want)
		}
	}
}

// JOURNAL_STREAM is inherited; only the stream that it names goes to the journal.
func TestJournalIsKnownByItsStream(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	info, err := w.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	name := fmt.Sprintf("%d:%d", uint64(st.Dev), st.Ino)
	env := func(value string) func(string) string {
		return func(name string) string { return map[string]string{"JOURNAL_STREAM": value}[name] }
	}
	if !toJournal(env(name), w) {
		t.Error("the named stream")
	}
	if toJournal(env(""), w) || toJournal(env("1:2"), w) || toJournal(env(name), &bytes.Buffer{}) {
		t.Error("another stream")
	}
}
