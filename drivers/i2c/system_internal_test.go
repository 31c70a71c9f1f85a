package i2c

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"edgegateway/drivers"
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
	w := wire{File: f, number: 1, functions: canI2C}
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

// struct i2c_msg, struct i2c_rdwr_ioctl_data and struct i2c_smbus_ioctl_data, on 32
// and on 64 bits.
func TestTheKernelsLayout(t *testing.T) {
	word := unsafe.Sizeof(uintptr(0))
	if got := unsafe.Sizeof(message{}); got != 8+word || unsafe.Offsetof(message{}.buffer) != 8 {
		t.Errorf("a message has %d bytes", got)
	}
	if got := unsafe.Sizeof(transfer{}); got != 2*word || unsafe.Offsetof(transfer{}.count) != word {
		t.Errorf("a transfer has %d bytes", got)
	}
	if got := unsafe.Sizeof(smbusRequest{}); got != 8+word || unsafe.Offsetof(smbusRequest{}.size) != 4 || unsafe.Offsetof(smbusRequest{}.data) != 8 {
		t.Errorf("a request of SMBus has %d bytes", got)
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

// The forms of Documentation/i2c/smbus-protocol.rst.
func TestTransfersTakeTheFormsOfSMBus(t *testing.T) {
	bytes := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(0x10 + i)
		}
		return b
	}
	for _, c := range []struct {
		out, in                  int
		direction, command, size int // of the request; size -1 = none
	}{
		{0, 1, smbusRead, 0, smbusByte},
		{1, 0, smbusWrite, 0x10, smbusByte},
		{1, 1, smbusRead, 0x10, smbusByteData},
		{1, 2, smbusRead, 0x10, smbusWordData},
		{1, 3, smbusRead, 0x10, smbusI2CBlock},
		{1, 32, smbusRead, 0x10, smbusI2CBlock},
		{2, 0, smbusWrite, 0x10, smbusByteData},
		{3, 0, smbusWrite, 0x10, smbusWordData},
		{4, 0, smbusWrite, 0x10, smbusI2CBlock},
		{33, 0, smbusWrite, 0x10, smbusI2CBlock},
		{1, 33, 0, 0, -1},
		{34, 0, 0, 0, -1},
		{0, 2, 0, 0, -1}, // as a chip of Sensirion is read
		{2, 6, 0, 0, -1},
	} {
		out := bytes(c.out)
		r, err := smbusForm(out, make([]byte, c.in))
		if c.size < 0 {
			if err != syscall.EOPNOTSUPP {
				t.Errorf("%d, %d: %v", c.out, c.in, err)
			}
			continue
		}
		if err != nil || int(r.direction) != c.direction || int(r.command) != c.command || int(r.size) != c.size {
			t.Errorf("%d, %d: %+v, %v", c.out, c.in, r, err)
			continue
		}
		// What a controller would put on the bus behind the command, or has read there.
		wire := func() []byte {
			switch r.size {
			case smbusWordData:
				return binary.LittleEndian.AppendUint16(nil, binary.NativeEndian.Uint16(r.data[:]))
			case smbusI2CBlock:
				return r.data[1 : 1+r.data[0]]
			}
			return r.data[:1]
		}
		if c.direction == smbusWrite && c.out > 1 && !slices.Equal(wire(), out[1:]) {
			t.Errorf("%d, %d: % x goes out", c.out, c.in, wire())
		}
		if c.direction == smbusRead {
			read := bytes(c.in)
			switch r.size {
			case smbusWordData:
				binary.NativeEndian.PutUint16(r.data[:], binary.LittleEndian.Uint16(read))
			case smbusI2CBlock:
				copy(r.data[1:], read)
			default:
				r.data[0] = read[0]
			}
			in := make([]byte, c.in)
			if err := r.answer(in); err != nil || !slices.Equal(in, read) {
				t.Errorf("%d, %d: % x comes in, %v", c.out, c.in, in, err)
			}
		}
	}
	r, _ := smbusForm([]byte{1}, make([]byte, 6))
	r.data[0] = 5
	if err := r.answer(make([]byte, 6)); !errors.Is(err, syscall.EIO) {
		t.Errorf("a short block: %v", err)
	}
}

func TestWhoHasAnAddressIsReadFromSysfs(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "sys/bus/i2c/devices/1-0048")
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "hwmon/hwmon3"), 0o755), os.WriteFile(filepath.Join(dir, "name"), []byte("tmp105\n"), 0o600),
		os.Symlink("../../../../bus/i2c/drivers/lm75", filepath.Join(dir, "driver"))); err != nil {
		t.Fatal(err)
	}
	place := drivers.I2CConfig{Bus: 1, Address: 0x48}
	for _, c := range []struct {
		change      func() error
		line, error string
	}{
		{func() error { return nil },
			`0x48  in use by the kernel's driver lm75 (tmp105): kind host, sensor = "tmp105"`,
			`address 0x48 on I2C bus 1 belongs to the kernel's driver lm75 (tmp105); the kind host can read its temperature (sensor = "tmp105"), or take it from there: echo 1-0048 > /sys/bus/i2c/drivers/lm75/unbind: device or resource busy`},
		{func() error { return os.Mkdir(filepath.Join(dir, "iio:device0"), 0o755) },
			`0x48  in use by the kernel's driver lm75 (tmp105): kind iio`,
			`address 0x48 on I2C bus 1 belongs to the kernel's driver lm75 (tmp105); use the kind iio for it, or take it from there: echo 1-0048 > /sys/bus/i2c/drivers/lm75/unbind: device or resource busy`},
		{func() error { return os.RemoveAll(dir) },
			`0x48  in use by a driver of the kernel`,
			`address 0x48 on I2C bus 1 belongs to a driver of the kernel; take its overlay out of /boot/firmware/config.txt: device or resource busy`},
	} {
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		e := taken(root, 1, 0x48)
		if got := (Found{Address: 0x48, Taken: e, Likely: []string{"tmp102"}}).String(); got != c.line {
			t.Error(got)
		}
		if err := explain(e, place, 0); err.Error() != c.error || !errors.Is(err, syscall.EBUSY) {
			t.Error(err)
		}
	}
}

func TestABusIsReachedWithoutAskingAChip(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "dev/i2c-1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	reach := TMP102Kind().Reach
	at := func(bus Number) func(any) error {
		return func(dst any) error { dst.(*TMP102Options).Bus = Bus{number: int(bus)}; return nil }
	}
	if err := reach(at(1), root); err != nil {
		t.Error(err)
	}
	driver := filepath.Join(root, "sys/bus/i2c/devices/1-0048/driver")
	if err := os.MkdirAll(filepath.Dir(driver), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../drivers/lm75", driver); err != nil {
		t.Fatal(err)
	}
	if err := reach(at(1), root); err == nil || !strings.HasPrefix(err.Error(), "address 0x48 on I2C bus 1 belongs to the kernel's driver lm75; take it from there: ") {
		t.Errorf("an address that the kernel has: %v", err)
	}
	if err := reach(at(3), root); err == nil || !strings.Contains(err.Error(), "/dev/i2c-3 is not there; switch the bus on in the device tree") {
		t.Errorf("a bus that is not there: %v", err)
	}
	if err := reach(at(-1), root); err == nil || !strings.Contains(err.Error(), "bus must be the number of a bus") {
		t.Errorf("options that are wrong: %v", err)
	}
}
