package serial_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/serialtest"
)

func TestFrames(t *testing.T) {
	const four = onPort + "header = \"55\"\nlength = 4\nchecksum = { type = \"xor\" }\nfields = [{ name = \"a\", at = 1, type = \"int16\" }]"
	const told = onPort + "header = \"55\"\nlength_field = { at = 1, size = 1, plus = 3 }\nchecksum = { type = \"sum8\" }\nfields = [{ name = \"a\", at = 2 }]"
	for _, c := range []struct {
		name, options string
		send          []string
		want          []string
	}{
		{"one by one", four, []string{"55 0001 54", "55 FFFE 54"}, []string{"a=1", "a=-2"}},
		{"together", four, []string{"55 0001 54 55 FFFE 54"}, []string{"a=1", "a=-2"}},
		{"entered in the middle", four, []string{"01 54 55 0001 54"}, []string{"a=1"}},
		{"entered behind a byte like a header", four, []string{"55 54 55 0001 54"}, []string{"a=1"}},
		{"noise between", four, []string{"55 0001 54 1234 55 0002 57"}, []string{"a=1", "a=2"}},
		{"damaged, told once", four, []string{"55 0001 54", "55 0001 00 55 0002 00 55 0003 00", "55 0002 57"},
			[]string{"a=1", "fault: a frame has the wrong checksum, 0x0 instead of 0x54: 55 00 01 00", "a=2"}},
		{"cut by a silence", four, []string{"55 0001 54", "55 00", "55 0002 57"},
			[]string{"a=1", "fault: a frame ends in the middle: 55 00", "a=2"}},
		{"a frame behind what looks like the beginning of a longer one", told, []string{"55 01 07 5D", "55 20 55 01 08 5E", "55 01 09 5F"},
			[]string{"a=7", "fault: a frame ends in the middle: 55 20 55 01 08 5E", "a=8", "a=9"}},
		{"a header inside", four, []string{"55 5555 55"}, []string{"a=21845"}},
		{"length told", told, []string{"55 01 07 5D", "55 03 07 08 09 70"}, []string{"a=7", "a=7"}},
		{"length impossible", strings.Replace(told, "at = 2", "at = 2, type = \"uint16\"", 1), []string{"55 02 0007 5E", "55 00 55 02 0007 5E"},
			[]string{"a=7", "fault: a frame says that it has 3 bytes: 55 00 55 02 00 07 5E", "a=7"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var parts []string
			for _, s := range c.send {
				parts = append(parts, unhex(t, s))
			}
			if got := stream(t, serial.FrameKind(), with(c.options), parts...); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestFieldsOfAFrame(t *testing.T) {
	for field, want := range map[string]string{
		`at = 1`:                                                   "a=240",
		`at = 1, type = "int8"`:                                    "a=-16",
		`at = 1, type = "uint16"`:                                  "a=61453",
		`at = 1, type = "int16"`:                                   "a=-4083",
		`at = 1, type = "int16", order = "little"`:                 "a=3568",
		`at = 1, type = "uint24"`:                                  "a=15732190",
		`at = 1, type = "int24"`:                                   "a=-1045026",
		`at = 1, type = "int24", order = "little"`:                 "a=-2224656",
		`at = 1, type = "int32"`:                                   "a=-267526472",
		`at = 1, type = "uint32", scale = 0.01`:                    "a=4.027440824e+07",
		`at = 5, type = "float32"`:                                 "a=21.3",
		`at = 5, type = "float32", scale = 2`:                      "a=42.6",
		`at = 9, type = "float32", order = "little", decimals = 0`: "a=21",
		`at = 1, type = "bool", mask = 0x10`:                       "a=true",
		`at = 1, type = "bool", mask = 0x01`:                       "a=false",
		`at = 1, mask = 0xF0`:                                      "a=15",
		`at = 1, type = "int8", mask = 0xF0`:                       "a=-1",
		`at = 1, type = "uint16", mask = 0x0FFF`:                   "a=13",
		`at = 1, no_value = [0xF0]`:                                "bad: a",
		`at = 1, type = "int16", no_value = [0xF00D]`:              "bad: a",
		`at = 13, type = "uint64"`:                                 "a=1.8446744073709552e+19",
		`at = 13, type = "int64"`:                                  "a=-1",
	} {
		options := onPort + "header = \"55\"\nlength = 21\nfields = [{ name = \"a\", " + field + " }]"
		got := stream(t, serial.FrameKind(), with(options), unhex(t, "55 F00DDEB8 41AA6666 6666AA41 FFFFFFFFFFFFFFFF"))
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, want %s", field, got, want)
		}
	}
}

func TestSilenceOfFramesEndsTheUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := serialtest.New()
		dev, err := serial.FrameKind().Open(t.Context(), ready(t, "sds011"), port.Ports())
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		began := time.Now()
		go func() { failed <- dev.(drivers.Watcher).Watch(t.Context(), func(drivers.Reading) {}) }()
		for range 50 { // it sends all the time, but at another baud rate
			time.Sleep(time.Second)
			port.Feed("\xf8\xaa\xc0\x00")
		}
		err = <-failed
		if took := time.Since(began); took > 62*time.Second || !strings.Contains(err.Error(), "no good frame came for 1m0s") {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

func TestWrongFrameOptions(t *testing.T) {
	const good = onPort + "header = \"55\"\nlength = 4\n"
	const a = "\nfields = [{ name = \"a\", at = 1 }]"
	for options, want := range map[string]string{
		``:                             "path is missing: it is a device like",
		good:                           "fields must name",
		onPort + "length = 4" + a:      "header must hold",
		onPort + "header = \"5\"" + a:  "header: bytes must be written like",
		onPort + "header = \"55\"" + a: "length of a frame",
		good + "length_field = { at = 1, size = 1 }" + a:                              "length of a frame",
		onPort + "header = \"55\"\nlength_field = { at = 1, size = 3 }" + a:           "length_field.size must",
		onPort + "header = \"55\"\nlength = 1" + a:                                    "length must be between 2",
		onPort + "header = \"55\"\nlength = 1025" + a:                                 "length must be between 2",
		good + "checksum = { type = \"md5\" }" + a:                                    "checksum.type must",
		good + "checksum = { type = \"crc16\" }" + a:                                  "checksum.poly must",
		good + "checksum = { type = \"sum8\", poly = 1 }" + a:                         "checksum.poly, init",
		good + "checksum = { type = \"crc8\", poly = 0x107 }" + a:                     "checksum.poly, init",
		good + "checksum = { type = \"xor\", from = 3, to = 2 }" + a:                  "checksum.to must",
		good + "checksum = { type = \"sum16\", at = 3 }" + a:                          "length must be between 5",
		good + "checksum = { type = \"sum8\", from = 3 }" + a:                         "checksum.from must be less than 3",
		good + "checksum = { type = \"sum8\", at = 1, from = 2 }" + a:                 "checksum.to must say",
		good + "checksum = { type = \"sum8\", at = 1, to = 4 }" + a:                   "checksum.from and to must leave out",
		good + "timeout = \"5s\"" + a:                                                 "timeout must",
		good + "silence = \"1ms\"" + a:                                                "silence must",
		good + "fields = [{ name = \"a\", at = 3, type = \"uint16\" }]":               "length must be between 5",
		good + "fields = [{ name = \"a\", type = \"uint12\" }]":                       "fields.type of",
		good + "fields = [{ name = \"a\", mask = 0x100 }]":                            "fields.mask of",
		good + "fields = [{ name = \"a\", at = -1 }]":                                 "fields.at of",
		good + "fields = [{ name = \"a\", at = 9223372036854775807 }]":                "fields.at of",
		good + "checksum = { type = \"sum8\", to = 2, at = 9223372036854775807 }" + a: "checksum.from, to and at must",
		onPort + "header = \"55\"\nlength_field = { size = 1, plus = 1025 }" + a:      "length_field.plus must be between -1024 and 1024",
		good + "fields = [{ name = \"a\", order = \"CDAB\" }]":                        "fields.order of",
		good + "fields = [{ name = \"a\", type = \"bool\", scale = 2 }]":              "fields.scale, offset",
		good + "fields = [{ name = \"a\" }, { name = \"a\" }]":                        `fields.name is "a" twice`,
		good + "fields = [{ at = 1 }]":                                                "fields.name must",
		good + "fields = [{ name = \"a\", type = \"float32\", no_value = [1] }]":      "fields.no_value of",
	} {
		if err := serial.FrameKind().Check(with(options)); err == nil || !strings.Contains(err.Error(), ": o."+want) {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
}
