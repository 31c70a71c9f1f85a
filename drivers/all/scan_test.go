package all_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgegateway/drivers"
	"edgegateway/drivers/all"
	"edgegateway/drivers/i2c"
	"edgegateway/drivers/i2c/i2ctest"
)

func TestAScanShowsWhatCanBeHadAndWhatIsWrong(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"dev/i2c-1": "", "dev/i2c-3": "", "dev/i2c-4": "", "dev/i2c-5": "", "dev/ttyUSB0": "",
		"sys/devices/usb1/1-1/idVendor": "0403\n", "sys/devices/usb1/1-1/idProduct": "6001\n",
		"sys/devices/usb1/1-1/1-1:1.0/ttyUSB0/tty/ttyUSB0/dev": "188:0\n",
		"sys/bus/w1/devices/w1_bus_master1/name":               "w1_bus_master1\n",
		"sys/bus/w1/devices/28-0316a2794ab5/name":              "28-0316a2794ab5\n",
		"sys/bus/w1/devices/01-00001b2c3d4e/name":              "01-00001b2c3d4e\n",
		"sys/devices/platform/soc/1-0076/iio:device0/name":     "bme280\n",
		"sys/devices/platform/soc/1-0077/iio:device1/name":     "bme280\n",
		"sys/devices/platform/dht11@4/iio:device2/name":        "dht11@4\n",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path, to := range map[string]string{
		"sys/devices/usb1/1-1/1-1:1.0/ttyUSB0/tty/ttyUSB0/device": "../../../ttyUSB0",
		"sys/class/tty/ttyUSB0":                                   "../../devices/usb1/1-1/1-1:1.0/ttyUSB0/tty/ttyUSB0",
		"dev/serial/by-id/usb-0403_6001-if0":                      "../../ttyUSB0",
		"sys/bus/iio/devices/iio:device0":                         "../../../devices/platform/soc/1-0076/iio:device0",
		"sys/bus/iio/devices/iio:device1":                         "../../../devices/platform/soc/1-0077/iio:device1",
		"sys/bus/iio/devices/iio:device2":                         "../../../devices/platform/dht11@4/iio:device2",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	bus := new(i2ctest.Bus).Attach(0x23, i2ctest.Words{}).Attach(0x42, i2ctest.Words{})
	bus.Take(0x23)
	s := all.Scanner{Root: root, I2C: func(n int) (i2c.Wire, error) {
		switch n {
		case 3:
			return nil, &drivers.PermissionError{Path: "/dev/i2c-3", Group: "i2c"}
		case 4, 5:
			return new(i2ctest.Bus).Wire(), nil
		}
		return bus.Wire(), nil
	}}
	var got strings.Builder
	for _, l := range s.Looks(t.Context()) {
		fmt.Fprintln(&got, l.Where)
		for _, f := range l.Found {
			fmt.Fprintf(&got, "  %s | %s | %s\n", f.Option, f.What, strings.Join(f.Notes, "; "))
		}
		if l.Rest != "" {
			fmt.Fprintln(&got, "  rest:", l.Rest)
		}
		if l.Err != nil {
			fmt.Fprintln(&got, "  error:", l.Err)
		}
	}
	want := `I2C bus 1
   | 0x23  in use by the kernel's driver rtc-ds1307 (ds3231) | 
  address = 0x42 | ina219 | 
I2C bus 3: bus = 3
  error: open /dev/i2c-3: permission denied; add the gateway's user to the group i2c and start it again
I2C buses 4, 5
  rest: nobody answers; check wiring and power of the chips
1-wire
   | 01-00001b2c3d4e  DS2401, DS1990A (serial number) | 
  id = "28-0316a2794ab5" | DS18B20, kind ds18b20 | 
iio
  device = "1-0076" | iio:device0  bme280 at 1-0076 | 
  device = "1-0077" | iio:device1  bme280 at 1-0077 | 
  device = "dht11@4" | iio:device2  dht11@4 | 
serial ports
  path = "/dev/serial/by-id/usb-0403_6001-if0" | USB device 0403:6001, now /dev/ttyUSB0 | 
GPIO
  error: /dev/gpiochip0 is not there; this machine has no GPIO that the kernel knows
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}

	// And what a device needs is found there without opening it.
	for options, want := range map[string]string{
		"ds18b20|id = \"28-0316a2794ab5\"":                   "<nil>",
		"ds18b20|id = \"28-0316a2794ab6\"":                   "the 1-wire thermometer 28-0316a2794ab6 is not there; the kernel has found 28-0316a2794ab5; check the id and the cable",
		"iio|device = \"1-0076\"":                            "<nil>",
		"iio|device = \"bme280\"":                            "which iio device is not clear",
		"bme280|bus = 3":                                     "<nil>",
		"bme280|bus = 7":                                     "/dev/i2c-7 is not there; ",
		"bme280|address = 1":                                 "example.toml:4:11: devices.options.address of the BME280 or BMP280 must be 0x76 or 0x77, not 0x01",
		"modbus-rtu|path = \"/dev/ttyUSB0\"":                 "devices.options.points must name",
		"serial-line|path = \"/dev/ttyUSB0\"":                "<nil>",
		"serial-line|path = \"/dev/ttyUSB1\"":                "/dev/ttyUSB1 is not there; check the cable",
		"gpio-in|pin = \"GPIO4\"":                            "/dev/gpiochip0 is not there; ",
		"gpio-counter|pin = \"GPIO4\"":                       "/dev/gpiochip0 is not there; ",
		"gpio-out|pin = \"GPIO4\"":                           "/dev/gpiochip0 is not there; ",
		"sim|channels = [{ name = \"a\", wave = \"sine\" }]": "<nil>",
	} {
		name, option, _ := strings.Cut(options, "|")
		at := slices.IndexFunc(all.Kinds(), func(k drivers.Kind) bool { return k.Name == name })
		device := parse(t, "[[devices]]\nname = \"d\"\n[devices.options]\n"+option+"\n")
		if err := all.Kinds()[at].Reach(device.Options, root); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
}
