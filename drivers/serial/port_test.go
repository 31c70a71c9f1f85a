package serial_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgegateway/drivers"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/ptytest"
	"edgegateway/internal/need"
)

func open(t *testing.T, path string) drivers.SerialPort {
	t.Helper()
	p, err := serial.Open(drivers.SerialConfig{Path: path, Baud: 115200})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestPortCarriesBytesBothWays(t *testing.T) {
	master, path := ptytest.Open(t)
	p := open(t, path)
	all := "\x00\x03\x04\r\n\x11\x13\xff" // nothing is translated, echoed or taken as control
	if _, err := master.WriteString(all); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(all))
	if _, err := io.ReadFull(p, got); string(got) != all || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := p.Write([]byte(all)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(master, got); string(got) != all || err != nil {
		t.Errorf("the other end read %q, %v", got, err)
	}
}

func TestReadTellsSilenceFromAPulledPlug(t *testing.T) {
	master, path := ptytest.Open(t)
	p := open(t, path)
	for range 2 {
		began := time.Now()
		n, err := p.Read(make([]byte, 10))
		if took := time.Since(began); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || took < drivers.SerialPatience/2 {
			t.Errorf("silence: %d, %v after %v", n, err, took)
		}
	}
	master.Close()
	n, err := p.Read(make([]byte, 10))
	if n != 0 || !errors.Is(err, drivers.ErrGone) {
		t.Errorf("pulled plug: %d, %v", n, err)
	}
}

func TestPlugPulledDuringARead(t *testing.T) {
	master, path := ptytest.Open(t)
	p := open(t, path)
	result := make(chan error)
	go func() {
		for {
			if _, err := p.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
				result <- err
				return
			}
		}
	}()
	master.Close()
	select {
	case err := <-result:
		if !errors.Is(err, drivers.ErrGone) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the reader never noticed")
	}
}

func TestSecondUserIsRefused(t *testing.T) {
	_, path := ptytest.Open(t)
	p := open(t, path)
	_, err := serial.Open(drivers.SerialConfig{Path: path, Baud: 9600})
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "another program uses it") {
		t.Errorf("second open: %v", err)
	}
	p.Close()
	open(t, path)
}

func TestCloseDoesNotWaitForBytesThatNobodyTakes(t *testing.T) {
	_, path := ptytest.Open(t)
	p := open(t, path)
	if _, err := p.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := p.Close(); err != nil || time.Since(began) > time.Second {
		t.Errorf("closed after %v: %v", time.Since(began), err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, want string
		baud       int
	}{
		{"/dev/does-not-exist", "/dev/does-not-exist is not there; check the cable; ", 9600},
		{file, "this is not a serial port", 9600},
		{file, "9601 baud is not a rate", 9601},
	} {
		if _, err := serial.Open(drivers.SerialConfig{Path: c.path, Baud: c.baud}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("open %s: %v, want %s", c.path, err, c.want)
		}
	}
}

// A line device on a real terminal: values, garbage, plug pulled, another adapter
// at the same name.
func TestLineDeviceOnATerminal(t *testing.T) {
	master, path := ptytest.Open(t)
	byID := filepath.Join(t.TempDir(), "usb-adapter")
	if err := os.Symlink(path, byID); err != nil {
		t.Fatal(err)
	}
	d := &diary{news: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var stats drivers.Stats
	go func() {
		ended <- drivers.Run(ctx, drivers.Spec{
			Kind: serial.LineKind(), Decode: with(`path = "` + byID + `"`), Stats: &stats,
			Ports: drivers.Ports{Serial: serial.Open},
		}, d)
	}()
	master.WriteString("{\"t\": 21.5}\n\xff\xfe\n{\"t\": 22.5}\n")
	d.wait(t, "t=22.5")
	master.Close()
	d.wait(t, "offline: ")
	other, path := ptytest.Open(t)
	os.Remove(byID)
	if err := os.Symlink(path, byID); err != nil {
		t.Fatal(err)
	}
	other.WriteString("{\"t\": 23.5}\n")
	d.wait(t, "t=23.5")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if c := stats.Snapshot(); c.Readings != 3 || c.Errors < 2 {
		t.Errorf("counts %+v", c)
	}
	t.Log(strings.Join(d.lines, "; "))
}

// A pseudo-terminal has always 8 bits without parity, so that rate and stop bits are
// what can be seen here.
func TestPortTakesItsSettings(t *testing.T) {
	_, path := ptytest.Open(t)
	p, err := serial.Open(drivers.SerialConfig{Path: path, Baud: 19200, DataBits: 8, Parity: "even", StopBits: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	// As root the lock does not keep us out; else the settings cannot be looked at.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	need.Met(t, err)
	defer unix.Close(fd)
	got, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if got.Cflag&unix.CBAUD != unix.B19200 || got.Cflag&unix.CSTOPB == 0 || got.Lflag&(unix.ICANON|unix.ECHO) != 0 {
		t.Errorf("settings %+v", got)
	}
}
