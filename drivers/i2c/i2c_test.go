package i2c_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/config/strict"
	"edgegateway/drivers"
	"edgegateway/drivers/i2c/i2ctest"
)

// with decodes options as the configuration does.
func with(options string) func(any) error {
	return func(dst any) error { return strict.Parse("x.toml", []byte(options)).Decode(dst) }
}

// say writes a reading as "temperature=21.5 humidity=40".
func say(r drivers.Reading) string {
	var parts []string
	for _, v := range r.Values {
		parts = append(parts, fmt.Sprintf("%s=%v", v.Channel, v.V))
	}
	return strings.Join(parts, " ")
}

// measured opens a kind with one chip, samples so often, closes it, and returns what
// came: readings, or an error, each on a line.
func measured(t *testing.T, kind drivers.Kind, address uint16, chip i2ctest.Chip, options string, samples int) (got []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		bus := new(i2ctest.Bus).Attach(address, chip)
		dev, err := kind.Open(t.Context(), with(options), i2ctest.Ports(map[int]*i2ctest.Bus{1: bus}))
		if err != nil {
			got = append(got, err.Error())
			if bus.Open() != 0 {
				t.Error("the bus is still open")
			}
			return
		}
		for range samples {
			r, err := dev.(drivers.Sampler).Sample(context.Background())
			line := say(r)
			for _, e := range []error{r.Fault, err} {
				if e != nil {
					line = strings.TrimSpace(line + " " + e.Error())
				}
			}
			for _, v := range r.Values {
				if !slices.ContainsFunc(dev.Channels(), func(c drivers.Channel) bool { return c.Name == v.Channel }) {
					t.Errorf("no channel %s", v.Channel)
				}
			}
			got = append(got, line)
			time.Sleep(time.Second)
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
		if bus.Open() != 0 {
			t.Error("the bus is still open")
		}
	})
	if s, ok := chip.(*i2ctest.Script); ok && s.Left() != 0 {
		t.Errorf("%d transfers did not come", s.Left())
	}
	return got
}

// want compares what measured has returned; a line that ends in "..." is a beginning.
func want(t *testing.T, got []string, lines ...string) {
	t.Helper()
	same := len(got) == len(lines)
	for i := 0; same && i < len(got); i++ {
		begin, cut := strings.CutSuffix(lines[i], "...")
		same = got[i] == lines[i] || cut && strings.HasPrefix(got[i], begin)
	}
	if !same {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(lines, "\n  "))
	}
}
