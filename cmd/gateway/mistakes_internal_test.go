package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryMistakeOfEveryDeviceComesOnceAndInOneRun(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"two options of one device", `
[[devices]]
name = "a"
kind = "serial-line"
[devices.options]
path = "/dev/ttyUSB0"
baud = 9601
format = "jsn"
`, `7:8: devices.options.baud must be a rate that the kernel knows, such as 9600 or 115200, not 9601
8:10: devices.options.format must be json, kv, csv or regex, not "jsn"`},
		{"each point at its own place", `
[[devices]]
name = "a"
kind = "modbus-tcp"
[devices.options]
address = "h"
[[devices.options.points]]
name = "a"
table = "registers"
[[devices.options.points]]
name = "b"
type = "int24"
order = "BA"
[[devices.options.points]]
name = "b"
address = -1
`, `9:9: devices.options.points.table of "a" must be one of coil, discrete, holding, input, not "registers"
12:8: devices.options.points.type of "b" must be one of bool, uint16, int16, uint32, int32, uint64, int64, float32, float64, not "int24"
13:9: devices.options.points.order of "b" must be one of ABCD, CDAB, BADC, DCBA, not "BA"
15:8: devices.options.points.name is "b" twice
16:11: devices.options.points.address of "b" must be between 0 and 65535, not -1`},
		{"a mistake in an option, and what two devices take", `
[[devices]]
name = "p1"
kind = "gpio-out"
[devices.options]
pin = "GPIO17"
[[devices]]
name = "p2"
kind = "gpio-out"
[devices.options]
pin = "GPIO17"
interlock = "v"
safe = true
`, `11:7: the GPIO line GPIO17 is taken by the device "p1"
12:13: devices.options.interlock cannot be kept together with safe = true: another output of the group may be on when this one goes to its safe state`},
		{"what is missing twice is not taken", `
[[devices]]
name = "p1"
kind = "gpio-out"
[devices.options]
[[devices]]
name = "p2"
kind = "gpio-out"
[devices.options]
pim = "GPIO17"
`, `5:10: devices.options.pin is missing: it is the name of a line, like "GPIO17", or chip and offset, like "gpiochip0:17"
9:10: devices.options.pin is missing: it is the name of a line, like "GPIO17", or chip and offset, like "gpiochip0:17"
10:1: unknown key "pim" in [devices.options] (did you mean "pin"?)`},
		{"the name and the kind", `
[[devices]]
name = "a/b"
kind = "gpio-ou"
`, `3:8: devices.name "a/b" must be 1 to 64 letters, digits, '_', '-' or '.'
4:8: there is no kind "gpio-ou" (did you mean "gpio-out"?); ` + "`gateway devices` lists them"},
		{"what two parts look at", `
prefix = "gh"
[[devices]]
name = "x"
kind = "host"
[[devices]]
name = "x"
kind = "host"
[[devices]]
name = "y"
kind = "host"
topic = "gh/status"
[[devices]]
name = "z"
kind = "host"
topic = "gh/x"
`, `7:8: name "x" is taken by another device
12:9: topic "gh/status" is reserved for the gateway's own topics, choose another one
16:9: topic "gh/x" is used by device "x" already`},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "g.toml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := checkedConfig(file, func(string) string { return "" })
			if err == nil {
				t.Fatal("no mistake was found")
			}
			if got := strings.ReplaceAll(err.Error(), file+":", ""); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
