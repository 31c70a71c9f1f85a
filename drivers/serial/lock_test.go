package serial_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgegateway/drivers"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/ptytest"
)

// The two devices of one gateway that mean the same port by different names.
func TestPortOfAnotherDeviceIsRefused(t *testing.T) {
	cable := ptytest.Plug(t)
	p := open(t, cable.Port)
	_, err := serial.Open(drivers.SerialConfig{Path: cable.Path, Baud: 9600})
	want := "open " + cable.Path + ": another device of this gateway uses this port; give each device its own, or the same path to Modbus units that share one: device or resource busy"
	if !errors.Is(err, syscall.EBUSY) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	p.Close()
	open(t, cable.Path)
}

// A second gateway, or another program that locks.
func TestPortOfAnotherProgramIsRefused(t *testing.T) {
	_, path := ptytest.Open(t)
	other := exec.Command(os.Args[0], "-test.run=^TestHoldingAPort$")
	other.Env = append(os.Environ(), "HOLD_PORT="+path)
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other program said %q, %v", line, err)
	}
	_, err = serial.Open(drivers.SerialConfig{Path: path, Baud: 9600})
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", other.Process.Pid))
	if want := fmt.Sprintf("open %s: another program uses it, %s (process %d): device or resource busy", path, strings.TrimSpace(string(comm)), other.Process.Pid); len(comm) == 0 || err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	stdin.Close() // it ends then
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
	open(t, path)
}

// TestHoldingAPort is the other program of TestPortOfAnotherProgramIsRefused.
func TestHoldingAPort(t *testing.T) {
	path := os.Getenv("HOLD_PORT")
	if path == "" {
		return
	}
	open(t, path)
	fmt.Println("held")
	io.Copy(io.Discard, os.Stdin)
}

// A program that asks for no lock, as a terminal does, cannot open the port either,
// except root.
func TestPortIsClosedToProgramsThatDoNotLock(t *testing.T) {
	_, path := ptytest.Open(t)
	p := open(t, path)
	exclusive := func() bool {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		if errors.Is(err, syscall.EBUSY) {
			return true
		}
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		on, err := unix.IoctlGetInt(fd, unix.TIOCGEXCL) // for root
		if err != nil {
			t.Fatal(err)
		}
		return on != 0
	}
	if !exclusive() {
		t.Error("others may open the port")
	}
	if p.Close(); exclusive() {
		t.Error("others may not open the port after it was closed")
	}
}

func TestUsesOfAPort(t *testing.T) {
	const fields = "\nheader = \"55\"\nlength = 4\nfields = [{ name = \"a\", at = 1 }]"
	for kind, options := range map[*drivers.Kind]string{
		new(serial.LineKind()):  "",
		new(serial.NMEAKind()):  "",
		new(serial.FrameKind()): fields,
	} {
		uses, err := kind.Uses(with("path = \"/dev//ttyUSB0\"" + options))
		if err != nil || len(uses) != 1 || uses[0] != (drivers.Use{What: "the serial port /dev/ttyUSB0", Key: "path"}) {
			t.Errorf("%s: %+v, %v", kind.Name, uses, err)
		}
		if _, err := kind.Uses(with("path = \"ttyUSB0\"" + options)); err == nil || !strings.Contains(err.Error(), "path must be") {
			t.Errorf("%s: %v", kind.Name, err)
		}
	}
}

func TestOptionsReachThePort(t *testing.T) {
	var got drivers.SerialConfig
	refused := errors.New("not today")
	options := "path = \"/dev/ttyAMA0\"\nbaud = 19200\nparity = \"even\"\nstop_bits = 2\nrs485 = true\nrs485_delay_before = \"2ms\"\nrs485_delay_after = \"1ms\"\nrs485_rts_active_low = true"
	_, err := serial.LineKind().Open(t.Context(), with(options), drivers.Ports{Serial: func(c drivers.SerialConfig) (drivers.SerialPort, error) {
		got = c
		return nil, refused
	}})
	want := drivers.SerialConfig{
		Path: "/dev/ttyAMA0", Baud: 19200, DataBits: 8, Parity: "even", StopBits: 2,
		RS485: drivers.RS485{On: true, Before: 2 * time.Millisecond, After: time.Millisecond, ActiveLow: true},
	}
	if err != refused || got != want {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}
