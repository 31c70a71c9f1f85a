package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"edgegateway/config"
	"edgegateway/drivers"
)

// A listening writer calls heard with all that is written so far.
type listeningWriter struct {
	text  strings.Builder
	heard func(text string)
}

func (w *listeningWriter) Write(b []byte) (int, error) {
	w.text.Write(b)
	w.heard(w.text.String())
	return len(b), nil
}

// Outputs would go to their initial state once more, and clients come, for nothing.
func TestAStopDuringAReloadDoesNotStartAgain(t *testing.T) {
	for _, moment := range []string{"reading", "msg=\"stopping, to start", "msg=stopped"} {
		t.Run(moment, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			file := configOf(t, fmt.Sprintf("data_dir = %q\n[status]\naddress = \"\"\n[[broker.listeners]]\naddress = \"tcp://127.0.0.1:0\"\n", t.TempDir()))
			reload := make(chan struct{}, 1)
			read := func() (config.Config, error) {
				if moment == "reading" && len(reload) == 0 {
					stop()
				}
				return checkedConfig(file, func(string) string { return "" })
			}
			opened := 0
			p := &process{
				stdout: &strings.Builder{},
				stderr: &listeningWriter{heard: func(text string) {
					if strings.Contains(text, moment) {
						stop()
					}
				}},
				getenv: func(string) string { return "" },
				ports:  func() drivers.Ports { opened++; return drivers.Ports{} },
			}
			reload <- struct{}{}
			if err := (tenure{p, read, reload}).andNext(ctx); err != nil || opened != 1 || ctx.Err() == nil {
				t.Errorf("opened %d times, %v, %v", opened, err, ctx.Err())
			}
		})
	}
}
