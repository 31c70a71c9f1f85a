package i2c_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/drivers"
	"edgegateway/drivers/i2c"
	"edgegateway/drivers/i2c/i2ctest"
)

// adapters makes /sys/bus/i2c/devices with buses of these names below a root, in place of
// those that were there.
func adapters(t *testing.T, root string, names map[int]string) {
	t.Helper()
	dir := filepath.Join(root, "sys/bus/i2c/devices")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"i2c-ELAN0001:00": "ELAN0001:00", "1-0076": "bme280"}
	for n, name := range names {
		files[fmt.Sprint("i2c-", n)] = name
	}
	for file, name := range files {
		path := filepath.Join(dir, file, "name")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestABusIsFoundByTheNameOfItsAdapter(t *testing.T) {
	root := t.TempDir()
	const soc, tiny = "bcm2835 (i2c@7e804000)", "i2c-tiny-usb at bus 001 device 004"
	for _, c := range []struct {
		bus   string
		names map[int]string
		want  string // the number, or the error
	}{
		{`"i2c-tiny-usb"`, map[int]string{1: soc, 20: tiny}, "20"},
		{`"i2c-tiny-usb"`, map[int]string{1: soc, 23: "i2c-tiny-usb at bus 001 device 009"}, "23"}, // plugged in again
		{`"` + tiny + `"`, map[int]string{1: soc, 20: tiny}, "20"},
		{`"i2c-20"`, map[int]string{1: tiny}, "20"},
		{`"/dev/i2c-1"`, nil, "1"},
		{`0x14`, nil, "20"},
		{`"i2c-tiny-usb"`, map[int]string{1: soc}, `the I2C adapter "i2c-tiny-usb" is not there; plug it in; there is bus 1 (bcm2835 (i2c@7e804000))`},
		{`"MCP2221"`, nil, `the I2C adapter "MCP2221" is not there; plug it in; this machine has no I2C bus`},
		{`"i2c-tiny-usb"`, map[int]string{20: tiny, 21: "i2c-tiny-usb at bus 001 device 005"},
			`the I2C adapter "i2c-tiny-usb" may be bus 20 (i2c-tiny-usb at bus 001 device 004) or bus 21 (i2c-tiny-usb at bus 001 device 005); write more of its name, or the number`},
	} {
		adapters(t, root, c.names)
		got := ""
		ports := drivers.Ports{Root: root, I2C: func(c drivers.I2CConfig) (drivers.I2CChip, error) {
			got = fmt.Sprint(c.Bus)
			bus := new(i2ctest.Bus).Attach(0x48, i2ctest.Words{0: 0x1900, 1: 0x60a0})
			return i2ctest.Ports(map[int]*i2ctest.Bus{c.Bus: bus}).I2C(c)
		}}
		options := with("bus = " + c.bus + "\naddress = 0x48")
		dev, err := i2c.TMP102Kind().Open(t.Context(), options, ports)
		if err == nil {
			err = dev.Close()
		}
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.bus, got, c.want)
		}
		// gateway check says the same of one that is not there.
		if err := i2c.TMP102Kind().Reach(options, root); err == nil || strings.Contains(c.want, "adapter") && err.Error() != c.want {
			t.Errorf("%s: check says %v", c.bus, err)
		}
	}
	uses, err := i2c.TMP102Kind().Uses(with("bus = \"MCP2221\"\naddress = 0x48"))
	if err != nil || len(uses) != 1 || uses[0].What != `address 0x48 on the I2C adapter "MCP2221"` {
		t.Errorf("%+v, %v", uses, err)
	}
}
