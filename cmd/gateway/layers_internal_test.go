package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestLayersCloseInReverse(t *testing.T) {
	var order []string
	l := layers{log: slog.New(slog.DiscardHandler)}
	note := func(name string) func() error {
		return func() error { order = append(order, name); return nil }
	}
	l.onClose("store", note("store"))
	l.start("broker", func(ctx context.Context) error {
		<-ctx.Done()
		order = append(order, "broker")
		return ctx.Err()
	})
	l.onClose("page", note("page"))
	if err := l.close(); err != nil {
		t.Error(err)
	}
	if got := strings.Join(order, " "); got != "page broker store" {
		t.Errorf("closed %s", got)
	}
	if err := l.close(); err != nil || len(order) != 3 {
		t.Errorf("closed twice: %v, %v", err, order)
	}
}

func TestWorkerThatEndsByItselfIsAFailure(t *testing.T) {
	boom := errors.New("boom")
	for _, end := range []error{boom, nil} {
		l := layers{log: slog.New(slog.DiscardHandler)}
		l.start("page", func(context.Context) error { return end })
		err := <-l.failures()
		if !errors.Is(err, end) && end != nil || !strings.HasPrefix(err.Error(), "page: ") {
			t.Errorf("worker ended with %v: %v", end, err)
		}
		if err := l.close(); err != nil {
			t.Errorf("it was told already, and again at close: %v", err)
		}
	}
}

func TestErrorsOfCloseNameTheLayerAndTheOthersCloseAsWell(t *testing.T) {
	closed := false
	l := layers{log: slog.New(slog.DiscardHandler)}
	l.onClose("store", func() error { closed = true; return nil })
	l.onClose("page", func() error { return errors.New("boom") })
	if err := l.close(); err == nil || err.Error() != "close page: boom" || !closed {
		t.Errorf("%v, store closed %t", err, closed)
	}
}
