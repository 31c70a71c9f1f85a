package main

import (
	"errors"
	"strings"
	"testing"

	"edgegateway/drivers/all"
)

func TestAScanShowsEachBus(t *testing.T) {
	bad := errors.New("open /dev/i2c-2: permission denied; add the gateway's user to the group i2c")
	var out strings.Builder
	err := showLooks(&out, []all.Look{
		{Where: "/dev/i2c-1", Found: []string{"0x48  tmp102", "0x76  bme280"}},
		{Where: "/dev/i2c-2", Err: bad},
		{Where: "/dev/i2c-3"},
	})
	want := `/dev/i2c-1
  0x48  tmp102
  0x76  bme280
/dev/i2c-2
  open /dev/i2c-2: permission denied; add the gateway's user to the group i2c
/dev/i2c-3
  nobody answers; check wiring and power of the chips
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
	if err := showLooks(&out, []all.Look{{Where: "/dev/i2c-2", Err: bad}}); !errors.Is(err, bad) {
		t.Errorf("no bus could be used: %v", err)
	}
}
