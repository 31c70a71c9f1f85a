package i2c

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

func TestMissingSaysWhichLineIsMissing(t *testing.T) {
	root := t.TempDir()
	if got := missing(root, 1); got != "put dtparam=i2c_arm=on into /boot/firmware/config.txt and restart the machine (Raspberry Pi), or switch the bus on in the device tree" {
		t.Error(got)
	}
	for _, name := range []string{"dev/i2c-20", "dev/i2c-21", "sys/bus/i2c/devices/i2c-1/name"} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if got := missing(root, 3); !strings.Contains(got, "dtoverlay=i2c3") || !strings.HasSuffix(got, "/dev/i2c-20, "+root+"/dev/i2c-21") {
		t.Error(got)
	}
	if got := missing(root, 1); !strings.Contains(got, "modprobe i2c-dev") {
		t.Error(got)
	}
}

func TestABusWhoseFileIsNotThereAnyMoreHasLeft(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "i2c-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := wire{f, 1}
	if err := w.Tx(0x48, []byte{0}, make([]byte, 2)); err == nil || err == syscall.ENODEV {
		t.Errorf("a file that is no bus: %v", err)
	}
	os.Remove(f.Name())
	if err := w.Tx(0x48, []byte{0}, make([]byte, 2)); err != syscall.ENODEV {
		t.Errorf("a file that is not there any more: %v", err)
	}
	if err := w.Tx(0x48, make([]byte, 1<<16), nil); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("too long: %v", err)
	}
}

// struct i2c_msg and struct i2c_rdwr_ioctl_data, on 32 and on 64 bits.
func TestTheKernelsLayout(t *testing.T) {
	word := unsafe.Sizeof(uintptr(0))
	if got := unsafe.Sizeof(message{}); got != 8+word || unsafe.Offsetof(message{}.buffer) != 8 {
		t.Errorf("a message has %d bytes", got)
	}
	if got := unsafe.Sizeof(transfer{}); got != 2*word || unsafe.Offsetof(transfer{}.count) != word {
		t.Errorf("a transfer has %d bytes", got)
	}
}

func TestNumbersOfBusesComeInOrder(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"i2c-20", "i2c-1", "i2c-x", "i2c-3"} {
		if err := os.WriteFile(filepath.Join(root, "dev", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := Numbers(root); !slices.Equal(got, []int{1, 3, 20}) {
		t.Error(got)
	}
}
