package i2c

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"edgegateway/drivers"
)

// A Bus is the number of an I2C bus (1, "1", "/dev/i2c-1"), or the begin of the name that
// its adapter has in the kernel. A USB adapter may have another number each time that it is
// plugged in; in its name only the end changes: "i2c-tiny-usb at bus 001 device 004" (linux:
// drivers/i2c/busses/i2c-tiny-usb.c), "MCP2221 usb-i2c bridge" (drivers/hid/hid-mcp2221.c).
type Bus struct {
	number int
	name   string // "" = it is the number that counts
}

// UnmarshalText reads a Bus.
func (b *Bus) UnmarshalText(text []byte) error {
	var n Number
	err := n.UnmarshalText(text)
	if s := string(text); err != nil && s != "" && !strings.ContainsRune("-/0123456789", rune(s[0])) {
		*b = Bus{name: s}
		return nil
	}
	*b = Bus{number: int(n)}
	return err
}

// String names the bus in messages.
func (b Bus) String() string {
	if b.name != "" {
		return fmt.Sprintf("the I2C adapter %q", b.name)
	}
	return fmt.Sprintf("I2C bus %d", b.number)
}

// find is the number that the bus has now. root stands before /sys.
func (b Bus) find(root string) (int, error) {
	if b.name == "" {
		return b.number, nil
	}
	paths, _ := filepath.Glob(filepath.Join("/", root, "sys/bus/i2c/devices/i2c-*/name")) // the pattern is ours and well formed
	var numbers []int
	var called, there []string
	for _, path := range paths {
		bus := filepath.Base(filepath.Dir(path))
		n, err := strconv.Atoi(strings.TrimPrefix(bus, "i2c-"))
		if err != nil {
			continue // a chip that ACPI names so
		}
		text, _ := os.ReadFile(path) // one that has just left has no name
		name := strings.TrimSpace(string(text))
		there = append(there, fmt.Sprintf("bus %d (%s)", n, name))
		if strings.HasPrefix(name, b.name) {
			numbers, called = append(numbers, n), append(called, there[len(there)-1])
		}
	}
	switch {
	case len(numbers) == 1:
		return numbers[0], nil
	case len(numbers) > 1:
		return 0, fmt.Errorf("%v may be %s; write more of its name, or the number", b, strings.Join(called, " or "))
	case len(there) == 0:
		return 0, &drivers.MissingError{What: b.String(), Check: "plug it in; this machine has no I2C bus"}
	}
	return 0, &drivers.MissingError{What: b.String(), Check: "plug it in; there is " + strings.Join(there[:min(len(there), 8)], ", ")}
}
