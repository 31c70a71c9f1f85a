package serial_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
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
	case <-time.After(need.Patience):
		t.Error("the reader never noticed")
	}
}

func TestCloseDoesNotWaitForBytesThatNobodyTakes(t *testing.T) {
	_, path := ptytest.Open(t)
	p := open(t, path)
	if _, err := p.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := p.Close(); err != nil || time.Since(began) > 10*time.Second { // the kernel would wait for 30
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
		{"/dev/serial9", "/dev/serial9 is not there; it is a port on the board: on a Raspberry Pi put enable_uart=1 into /boot/firmware/config.txt and restart the machine", 9600},
		{file, "this is not a serial port", 9600},
		{file, "9601 baud is not a rate", 9601},
	} {
		if _, err := serial.Open(drivers.SerialConfig{Path: c.path, Baud: c.baud}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("open %s: %v, want %s", c.path, err, c.want)
		}
	}
}

// A pseudo-terminal has always 8 bits without parity, so that rate and stop bits are
// what can be seen here.
func TestPortTakesItsSettings(t *testing.T) {
	master, path := ptytest.Open(t)
	p, err := serial.Open(drivers.SerialConfig{Path: path, Baud: 19200, DataBits: 8, Parity: "even", StopBits: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	got, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS) // both ends have the settings of the port
	if err != nil {
		t.Fatal(err)
	}
	if got.Cflag&unix.CBAUD != unix.B19200 || got.Cflag&unix.CSTOPB == 0 || got.Lflag&(unix.ICANON|unix.ECHO) != 0 {
		t.Errorf("settings %+v", got)
	}
	if got.Iflag&(unix.INPCK|unix.IGNPAR|unix.PARMRK) != unix.INPCK {
		t.Errorf("a byte with wrong parity is taken or dropped: input flags %#x", got.Iflag)
	}
}

// A terminal has no direction to turn. The port is then as free as before.
func TestRS485OnAPortWithoutIt(t *testing.T) {
	_, path := ptytest.Open(t)
	c := drivers.SerialConfig{Path: path, Baud: 9600, RS485: drivers.RS485{On: true}}
	_, err := serial.Open(c)
	want := "open " + path + ": the driver of this port does not turn an RS-485 line round; leave rs485 out: most USB adapters do that by themselves: inappropriate ioctl for device"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	open(t, path)
}
