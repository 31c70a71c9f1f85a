package serial_test

import (
	"context"
	"encoding/hex"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/config/strict"
	"edgegateway/drivers"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/ptytest"
	"edgegateway/drivers/serial/serialtest"
)

const onPort = "path = \"/dev/x\"\n"

// with decodes options as the configuration does.
func with(options string) func(any) error {
	var file struct {
		Options func(any) error `toml:"o"`
	}
	if err := strict.Parse("x.toml", []byte("[o]\n"+options)).Decode(&file); err != nil {
		return func(any) error { return err }
	}
	return file.Options
}

func unhex(t testing.TB, s string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// watch opens a device on a port in memory, and returns what it tells while the
// script goes on.
func watch(t *testing.T, kind drivers.Kind, options func(any) error, script func(port *serialtest.Port)) (got []drivers.Reading) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		port := serialtest.New()
		got = watchOn(t, port, kind, options, func() { script(port) })
	})
	return got
}

// watchOn is watch in a bubble that is there.
func watchOn(t *testing.T, port *serialtest.Port, kind drivers.Kind, options func(any) error, script func()) (got []drivers.Reading) {
	t.Helper()
	dev, err := kind.Open(t.Context(), options, port.Ports())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		dev.(drivers.Watcher).Watch(ctx, func(r drivers.Reading) { got = append(got, r) })
	}()
	script()
	synctest.Wait()
	cancel()
	<-ended
	if dev.Close(); !port.Closed() {
		t.Error("the port is still open")
	}
	return got
}

// stream sends parts, each followed by a silence, and returns what a device tells.
func stream(t *testing.T, kind drivers.Kind, options func(any) error, send ...string) (got []string) {
	t.Helper()
	for _, r := range watch(t, kind, options, func(port *serialtest.Port) {
		for _, part := range send {
			port.Feed(part)
			time.Sleep(time.Second)
		}
	}) {
		got = append(got, serialtest.Show(r))
	}
	return got
}

// onCable runs a device on a real terminal, whatever path its options name.
func onCable(t *testing.T, kind drivers.Kind, options func(any) error) (*ptytest.Cable, *serialtest.Diary) {
	t.Helper()
	cable := ptytest.Plug(t)
	return cable, serialtest.Run(t, drivers.Spec{
		Kind: kind, Every: 50 * time.Millisecond,
		Ports: drivers.Ports{Serial: func(c drivers.SerialConfig) (drivers.SerialPort, error) {
			c.Path = cable.Path
			return serial.Open(c)
		}},
		Decode: options,
	})
}
