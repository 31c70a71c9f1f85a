package main

import (
	"errors"
	"strings"
	"testing"

	"edgegateway/drivers/all"
)

func TestAScanShowsLinesToCopy(t *testing.T) {
	bad := errors.New("open /dev/i2c-2: permission denied; add the gateway's user to the group i2c")
	var out strings.Builder
	err := showLooks(&out, []all.Look{
		{Where: "I2C bus 1", Found: []all.Found{{Option: "address = 0x48", What: "tmp102"}, {What: "0x76: in use"}}},
		{Where: "I2C bus 2: bus = 2", Err: bad},
		{Where: "serial ports", Found: []all.Found{{Option: `path = "/dev/serial0"`, What: "Evil\x1b[2J Inc", Notes: []string{"agetty has it", "you may not"}}}},
		{Where: "GPIO", Rest: "41 more"},
	})
	want := `I2C bus 1
  address = 0x48  # tmp102
                  # 0x76: in use

I2C bus 2: bus = 2
  # ! open /dev/i2c-2: permission denied; add the gateway's user to the group i2c

serial ports
  path = "/dev/serial0"  # Evil\x1b[2J Inc
                         # ! agetty has it
                         # ! you may not

GPIO
  # 41 more
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
	out.Reset()
	if err := showLooks(&out, []all.Look{{Where: "I2C bus 2", Err: bad}}); exitCode(err) != exitFailed || !strings.Contains(out.String(), "group i2c") {
		t.Errorf("nothing could be looked at: %v %s", err, &out)
	}
}
