package all_test

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"edgegateway/config/strict"
	"edgegateway/drivers"
	"edgegateway/drivers/all"
	"edgegateway/drivers/gpio/gpiotest"
	"edgegateway/drivers/i2c/i2ctest"
	"edgegateway/drivers/modbus/modbustest"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/serialtest"
)

// points are registers of all types.
const points = `
points = [
	{ name = "a", type = "uint64", writable = true },
	{ name = "b", type = "int64", address = 4, no_value = [0x7fff], writable = true },
	{ name = "c", type = "float64", address = 8, scale = 0.1, writable = true },
	{ name = "d", address = 12, bit = 3 },
	{ name = "e", address = 13, decimals = 1, write_only = true, writable = true, safe = 3 },
	{ name = "f", type = "float32", order = "DCBA", address = 14, offset = 1.5, writable = true },
]`

// moreOptions are those that the examples leave out, and that change what others mean.
var moreOptions = map[string][]string{
	"modbus-rtu": {`path = "/dev/ttyUSB0"` + points},
	"modbus-tcp": {`address = "127.0.0.1"` + strings.Replace(points, ", safe = 3", "", 1)}, // that is set when it is opened
	"serial-frame": {`path = "/dev/ttyUSB0"
header = "55"
length_field = { at = 1, size = 1, plus = 3 }
checksum = { type = "crc16", poly = 0x8005, init = 0xffff, reflect = true }
fields = [
	{ name = "a", at = 2, type = "uint64", mask = 0x7ff0, no_value = [1] },
	{ name = "b", at = 2, type = "float64", scale = 2.5 },
	{ name = "c", at = 2, type = "bool" },
]`, `path = "/dev/ttyUSB0"
header = "FF"
length = 9
request = "FF 01 86 00 00 00 00 00 79"
checksum = { type = "sum8", from = 1, to = 8, at = 8 }
fields = [{ name = "a", at = 2, type = "int16" }]`},
	"serial-line": {`path = "/dev/ttyUSB0"`, `path = "/dev/ttyUSB0"
format = "regex"
pattern = "(?P<a>[0-9.eE]+)"
fields = [{ from = "a", unit = "W" }]`},
}

// strange are values that a file may hold, by the kind of its key.
func strange(t reflect.Type) []string {
	long := strconv.Quote(strings.Repeat("a", 64<<10))
	texts := []string{`""`, long, `"\u0000"`, `"a/b+#"`, `"\n"`, `"é☃"`, `"\""`, `"*"`}
	numbers := []string{
		"0", "1", "-1", "8", "255", "65535", "65536", "2147483647", "2147483648", "-2147483648",
		"9223372036854775807", "9223372036854775804", "-9223372036854775808", "99999999999999999999",
	}
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return []string{`"0s"`, `"1ns"`, `"1ms"`, `"24h"`, `"-1s"`, `"2562047h47m16.854775807s"`, `"9000000h"`, `""`, "1"}
	case isText(t):
		return append(numbers, texts...)
	}
	switch t.Kind() {
	case reflect.Bool:
		return []string{"true", "false", "1"}
	case reflect.String:
		return texts
	case reflect.Float64:
		return []string{
			"0", "1", "-1", "1e-9", "1e9", "1e15", "-1e15", "5e-324", "1e-300", "1e300", "1.7976931348623157e308", "-1.7976931348623157e308", "1e309",
			"nan", "inf", "-inf", "9007199254740993",
		}
	case reflect.Interface:
		return []string{"1e308", "-1", "true", `"x"`, "nan", "[1]", "{ a = 1 }"}
	case reflect.Slice:
		return append([]string{"[]", "1"}, lists(strange(t.Elem()))...)
	}
	return numbers
}

// isText tells whether the values of a type are read as texts.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func lists(items []string) (all []string) {
	for _, item := range items {
		all = append(all, "["+item+"]")
	}
	return all
}

// A printer writes options as TOML, and something else in the place of one of their keys.
type printer struct {
	swap int    // number of that key; below 0: none
	by   string // what stands there

	types []reflect.Type // of the keys that were met
	names []string
}

func (p *printer) table(v reflect.Value, path string) (pairs []string) {
	for i := range v.NumField() {
		f, name := v.Type().Field(i), v.Type().Field(i).Tag.Get("toml")
		name, _, _ = strings.Cut(name, ",")
		switch {
		case name == "" && f.Anonymous:
			pairs = append(pairs, p.table(v.Field(i), path)...)
		case name != "" && name != "-":
			if text := p.value(v.Field(i), path+"."+name); text != "" {
				pairs = append(pairs, name+" = "+text)
			}
		}
	}
	return pairs
}

// value is "" for one that is not set.
func (p *printer) value(v reflect.Value, path string) string {
	t := v.Type()
	written := isText(t) // also what is a struct to its package
	switch {
	case t.Kind() == reflect.Struct && !written:
		if pairs := p.table(v, path); len(pairs) > 0 {
			return "{ " + strings.Join(pairs, ", ") + " }"
		}
		return ""
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		var items []string
		for i := range v.Len() {
			items = append(items, p.value(v.Index(i), fmt.Sprintf("%s[%d]", path, i)))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case t.Kind() == reflect.Pointer:
		t = t.Elem()
	}
	p.types, p.names = append(p.types, t), append(p.names, path)
	if len(p.types)-1 == p.swap {
		return p.by
	}
	if v.IsZero() || written && t.Kind() == reflect.Struct { // how that is written only its package knows
		return ""
	}
	return literal(reflect.Indirect(v))
}

// literal is a value that is set as the file has it.
func literal(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return strconv.Quote(d.String())
	}
	if v.Type() == reflect.TypeFor[serial.Hex]() {
		return strconv.Quote(fmt.Sprintf("% X", v.Bytes()))
	}
	switch v.Kind() {
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Interface:
		return literal(v.Elem())
	case reflect.Slice:
		var items []string
		for i := range v.Len() {
			items = append(items, literal(v.Index(i)))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	}
	return fmt.Sprint(v.Interface())
}

// optionsOf is what a kind decodes a file into.
func optionsOf(t *testing.T, k drivers.Kind, decode func(any) error) reflect.Value {
	t.Helper()
	var options reflect.Value
	err := k.Check(func(dst any) error {
		options = reflect.ValueOf(dst).Elem()
		return decode(dst)
	})
	if err != nil {
		t.Fatalf("%s: %v", k.Name, err)
	}
	return options
}

// Whatever a file says in one of its keys, the answer is a sentence, or a device that
// neither panics nor hangs nor tells what JSON has no word for.
func TestStrangeOptionsAreRefusedOrWork(t *testing.T) {
	root := kernel(t)
	for _, k := range all.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			bases := []reflect.Value{optionsOf(t, k, parse(t, k.Example).Options)}
			for _, text := range moreOptions[k.Name] {
				bases = append(bases, optionsOf(t, k, parse(t, device(text)).Options))
			}
			if points := bases[0].FieldByName("Points"); points.IsValid() {
				points.Set(points.Slice(0, 1)) // the other ones have no more keys
			}
			works, refused := 0, 0
			for _, base := range bases {
				keys := printer{swap: -1}
				keys.table(base, "")
				for i, kind := range keys.types {
					for _, value := range strange(kind) {
						p := printer{swap: i, by: value}
						text := device(strings.Join(p.table(base, ""), "\n"))
						err := tryOptions(t, k.Name, text, root)
						if err == nil {
							works++
							continue
						}
						refused++
						if s := err.Error(); s == "" || strings.Contains(s, "%!") || !utf8.ValidString(s) {
							t.Errorf("%s = %.40s: no sentence: %.200q", keys.names[i], value, s)
						}
					}
					if t.Failed() {
						return // the others would say the same
					}
				}
			}
			if works == 0 || refused == 0 {
				t.Errorf("%d configurations work, %d are refused", works, refused)
			}
		})
	}
}

// device is the file of one device with such options.
func device(options string) string {
	return "[[devices]]\nname = \"d\"\n[devices.options]\n" + options + "\n"
}

// tryOptions runs a device for a few seconds, by the clock of a bubble, if its options
// are right.
func tryOptions(t *testing.T, kind, text, root string) (refused error) {
	var file struct {
		Devices []entry `toml:"devices"`
	}
	if err := strict.Parse("f.toml", []byte(text)).Decode(&file); err != nil {
		return err
	}
	options := file.Devices[0].Options
	synctest.Test(t, func(t *testing.T) { // a kind has channels of its own: they must be of the bubble
		kinds := all.Kinds()
		k := kinds[slices.IndexFunc(kinds, func(k drivers.Kind) bool { return k.Name == kind })]
		if refused = k.Check(options); refused != nil {
			_, _ = k.Uses(options) // are asked for the other mistakes of the file
			for _, ask := range []func(func(any) error) bool{k.Watches, k.Moves, k.Failsafe} {
				if ask != nil {
					ask(options)
				}
			}
			return
		}
		w := &witness{t: t, text: text, jobs: make(chan drivers.Job, 16)}
		if kind == "modbus-tcp" { // a sample would ask the network, and so does a safe value
			var dev drivers.Device
			if dev, refused = k.Open(t.Context(), options, drivers.Ports{}); refused != nil {
				return
			}
			w.Online(dev.Channels(), dev.(drivers.Actuator).Check)
			dev.Close()
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
		defer cancel()
		var stats drivers.Stats
		_ = drivers.Run(ctx, drivers.Spec{
			Name: "d", Kind: k, Decode: options, Ports: fakes(kind, root), Every: 500 * time.Millisecond, Jobs: w.jobs, Stats: &stats,
			Last: func() []drivers.Value { return []drivers.Value{{Channel: "pulses", V: int64(math.MaxInt64)}} },
		}, w) // what failed was told to the witness
		if n := stats.Snapshot(); n.Samples > 3 || n.Opens > 4 || n.Readings > 500 {
			w.wrong("it spins: %+v", n)
		}
	})
	return refused
}

// fakes are a machine on which everything answers.
func fakes(kind, root string) drivers.Ports {
	port, board := serialtest.New(), new(gpiotest.Board)
	p := drivers.Ports{Root: root, Serial: port.Ports().Serial, Pin: board.Ports().Pin, Interlocks: new(drivers.Interlocks), Turns: new(drivers.Turns)}
	p.I2C = i2ctest.Ports(map[int]*i2ctest.Bus{1: chips(kind)}).I2C
	unit := &modbustest.Unit{Coils: make(map[int]bool), Discrete: make(map[int]bool), Holding: make(map[int]uint16), Input: make(map[int]uint16)}
	for at := range 400 {
		unit.Coils[at], unit.Discrete[at], unit.Holding[at], unit.Input[at] = true, true, uint16(0x7f01*at), 0x4049
	}
	port.Respond(func(sent []byte) string {
		if len(sent) < 4 || kind != "modbus-rtu" {
			return "\xff\x86\x02\x0d\x45\x00\x00\x00\xda"
		}
		return string(modbustest.Frame(sent[0], unit.Answer(sent[1:len(sent)-2])))
	})
	for range 4 {
		port.Feed("\r\n{\"a\": 1.5, \"b\": {\"c\": 1e308}, \"d\": 12345678901234567890}\r\n1.5,2.5,3\r\n")
		port.Feed("$GPGGA,092725.00,4717.11399,N,00833.91590,E,1,08,1.01,499.6,M,48.0,M,,*5B\r\n")
		port.Feed("\xaa\xc0\xd4\x04\x3a\x0a\xa1\x60\x1d\xab\x55\x0b\xff\xf0\x00\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06")
	}
	return p
}

// A witness is told by a device and looks whether that can be.
type witness struct {
	t    *testing.T
	text string
	jobs chan drivers.Job
}

func (w *witness) wrong(format string, args ...any) {
	w.t.Errorf("%.1500s\n%s", w.text, fmt.Sprintf(format, args...))
}

func (w *witness) Online(channels []drivers.Channel, check func(drivers.Command) (drivers.Command, error)) {
	for _, c := range channels {
		if c.Name == "" {
			w.wrong("a channel without a name")
		}
		if r := c.Range; !(r.Min <= r.Max) || math.IsInf(r.Min, 0) || math.IsInf(r.Max, 0) {
			w.wrong("channel %.80q takes %v to %v", c.Name, r.Min, r.Max)
		}
		if !c.Writable {
			continue
		}
		for _, value := range []any{
			nil, true, 0.0, math.Copysign(0, -1), 1.0, -1.0, 1e300, -1e300, math.MaxFloat64, 5e-324, 1e19, 9007199254740993.0, c.Range.Min, c.Range.Max,
			"nan", "inf", "1e999", "0x1p-2", "on", "", []any{1.0}, map[string]any{c.Name: 1.0}, map[string]any{},
		} {
			checked, err := check(drivers.Command{Channel: c.Name, Value: value})
			if err != nil {
				if s := err.Error(); s == "" || strings.Contains(s, "%!") {
					w.wrong("%v for %.80q: no sentence: %.80q", value, c.Name, s)
				}
				continue
			}
			again, err := check(checked)
			if err != nil || again != checked {
				w.wrong("%v for %.80q was checked as %v, and that as %v, %v", value, c.Name, checked, again, err)
			}
			w.value(checked.Value)
			if x, ok := checked.Value.(float64); ok && c.Range.Limited() && (x < c.Range.Min || x > c.Range.Max) {
				w.wrong("%v for %.80q is %v, outside of %v", value, c.Name, x, c.Range)
			}
			select {
			case w.jobs <- drivers.Job{Command: checked}:
			default:
			}
		}
	}
}

func (w *witness) value(v any) {
	if _, err := json.Marshal(v); err != nil {
		w.wrong("%v (%T) is not JSON: %v", v, v, err)
	}
}

func (w *witness) Reading(r drivers.Reading) {
	for _, v := range r.Values {
		w.value(v.V)
		if v.Channel == "" {
			w.wrong("a value without a name: %v", v.V)
		}
	}
}

func (w *witness) Offline(reason error) {
	var panicked *drivers.PanicError
	if errors.As(reason, &panicked) {
		w.wrong("%v\n%s", reason, panicked.Stack)
	}
	var stuck *drivers.StuckError
	if errors.As(reason, &stuck) {
		w.wrong("%v", reason)
	}
}

func (w *witness) Result(j drivers.Job, state drivers.Reading, err error) {
	var panicked *drivers.PanicError
	if errors.As(err, &panicked) {
		w.wrong("%v makes it panic: %v\n%s", j.Command, err, panicked.Stack)
	}
	w.Reading(state)
}
