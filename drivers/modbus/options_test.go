package modbus_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"edgegateway/drivers/modbus"
)

func TestWrongOptions(t *testing.T) {
	point := func(keys string) string { return onPort + "points = [{ name = \"a\", " + keys + " }]" }
	for options, want := range map[string]string{
		`points = [{ name = "a" }]`:   "path is missing: it is a device like",
		onPort:                        "points must name",
		onPort + "data_bits = 7":      "data_bits must be 8",
		onPort + "unit_id = 0":        "unit_id must be between 1 and 247",
		onPort + "retries = 6":        "retries must be",
		onPort + "max_count = 126":    "max_count must be",
		onPort + "max_gap = -1":       "max_gap must be",
		onPort + "count_from = 40001": "count_from must be 0 or 1",
		onPort + "max_count = 1\npoints = [{name=\"a\", type=\"int32\"}]": "max_count must be at least 2",
		onPort + `points = [{ name = "a" }, { name = "a", address = 1 }]`: `points.name is "a" twice`,
		onPort + `points = [{ name = "pump/1", writable = true }]`:        `points.name is "pump/1"; of a point that commands set`,
		onPort + `points = [{ address = 1 }]`:                             "points.name must not be empty",
		point(`table = "registers"`):                                      "points.table of",
		point(`type = "int24"`):                                           "points.type of",
		point(`type = "bool"`):                                            `points.type of "a" is bool: say with bit`,
		point(`table = "coil", type = "int16"`):                           "points.type of",
		point(`address = 65535, type = "int32"`):                          `points.address of "a" must be between 0 and 65534`,
		point(`address = -1`):                                             "points.address of",
		point(fmt.Sprintf(`address = %d, type = "int64"`, math.MaxInt)):   `points.address of "a" must be between 0 and 65532`,
		point(`scale = 1e-31`):                                            "points.scale must be between 1e-30 and 1e+30",
		point(`offset = -1e31`):                                           "points.offset must be between",
		point(`order = "BA"`):                                             "points.order of",
		point(`bit = 16`):                                                 "points.bit of",
		point(`bit = 1, type = "int16"`):                                  "points.bit of",
		point(`table = "coil", scale = 2`):                                "points.scale of",
		point(`type = "float32", no_value = [1]`):                         "points.no_value of",
		point(`writable = true, min = 2, max = 2`):                        "points.min of",
		point(`writable = true, min = 2, max = 1`):                        "points.min of",
		point(`max = 1`):                                                  "points.writable of",
		point(`table = "input", writable = true`):                         "points.writable of",
		point(`bit = 1, writable = true`):                                 "points.writable of",
		point(`writable = true, write_function = 5`):                      "points.write_function of",
		point(`type = "int32", writable = true, write_function = 6`):      "points.write_function of",
		point(`decimals = 13`):                                            "points.decimals must be",
	} {
		if err := modbus.RTUKind().Check(with(options)); err == nil || !strings.Contains(err.Error(), ": o."+want) {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
	// Nobody knows which addresses are right when it is not known what they are counted from.
	err := modbus.RTUKind().Check(with(onPort + "count_from = 40001\npoints = [{ name = \"a\", address = 108 }]"))
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "count_from must be 0 or 1") {
		t.Errorf("one mistake: %v", err)
	}
	for options, want := range map[string]string{
		``:                                 "address is missing: it is a host",
		`address = "a:b:c"`:                "address must be",
		`address = "host:0"`:               "address must be",
		`address = "host:http"`:            "address must be",
		"address = \"h\"\nframing = \"x\"": "framing must be",
		"address = \"h\"\nunit_id = 256":   "unit_id must be",
		`address = "h"`:                    "points must name",
	} {
		if err := modbus.TCPKind().Check(with(options)); err == nil || !strings.Contains(err.Error(), ": o."+want) {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
}
