package strict_test

import (
	"errors"
	"fmt"
	"testing"

	"edgegateway/config/strict"
)

// The options of a device, which nobody but its kind knows.
type options struct {
	Bus      string     `toml:"bus"`
	Address  uint16     `toml:"address"`
	Register []register `toml:"register"`
}

type register struct {
	Name  string  `toml:"name"`
	Scale float64 `toml:"scale"`
}

func (r *register) SetDefaults() { r.Scale = 1 }

func (o *options) Validate() error {
	var errs []error
	if o.Address < 3 || o.Address > 0x77 {
		errs = append(errs, fmt.Errorf("address must be from 0x03 to 0x77, not %#x", o.Address))
	}
	for i, r := range o.Register {
		if r.Scale == 0 {
			errs = append(errs, fmt.Errorf("register[%d].scale must not be 0", i))
		}
	}
	return errors.Join(errs...)
}

const twoDevices = `
[[devices]]
name = "first"
[devices.options]
bus = "1"
[[devices]]
name = "second"
options = { address = 0x40, register = [{ name = "a" }, { name = "b", scale = 0.5 }] }
[[devices]]
name = "third"
`

func later(t *testing.T, text string, device int) (options, error) {
	t.Helper()
	f, err := decode(text)
	if err != nil {
		t.Fatalf("the file itself: %v", err)
	}
	o := options{Bus: "0", Address: 0x76}
	err = f.Devices[device].Options(&o)
	return o, err
}

func TestOptionsAreDecodedLaterIntoTheirDefaults(t *testing.T) {
	for i, want := range []string{
		`{1 118 []}`,
		`{0 64 [{a 1} {b 0.5}]}`,
		`{0 118 []}`,
	} {
		o, err := later(t, twoDevices, i)
		if got := fmt.Sprint(o); got != want || err != nil {
			t.Errorf("device %d: got %s, %v, want %s", i, got, err, want)
		}
	}
}

func TestMistakesInOptionsPointAtThemselves(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "[[devices]]\n[devices.options]\nadress = 1", `gateway.toml:3:1: unknown key "adress" in [devices.options] (did you mean "address"?)`},
		{"unknown key in an inline table", "[[devices]]\noptions = { buss = '' }", `gateway.toml:2:13: unknown key "buss" in [devices.options] (did you mean "bus"?)`},
		{"unknown key in a nested list", "[[devices]]\n[[devices.options.register]]\nname = ''\nsacle = 1", `gateway.toml:4:1: unknown key "sacle" in [[devices.options.register]] (did you mean "scale"?)`},
		{"key of the device below the header of its options", "[[devices]]\n[devices.options]\nevery = '1s'", `gateway.toml:3:1: unknown key "every" in [devices.options] (it belongs in [[devices]], above [devices.options])`},
		{"key of another section", "[[devices]]\n[devices.options]\nwords = []", `gateway.toml:3:1: unknown key "words" in [devices.options] (known here: bus, address, register)`},
		{"wrong type", "[[devices]]\noptions.address = '0x76'", `gateway.toml:2:19: devices.options.address wants a whole number such as 10, not the string "0x76"`},
		{"value refused by Validate", "[[devices]]\n[devices.options]\naddress = 0x80\n[[devices.options.register]]\nscale = 0",
			"gateway.toml:3:11: devices.options.address must be from 0x03 to 0x77, not 0x80\ngateway.toml:5:9: devices.options.register.scale must not be 0"},
		{"value refused by Validate beside one of the wrong type, and a key that nobody knows", "[[devices]]\n[devices.options]\naddress = 0x80\nbus = 1\nname = ''",
			"gateway.toml:3:11: devices.options.address must be from 0x03 to 0x77, not 0x80\ngateway.toml:4:7: devices.options.bus wants a string in quotes, not the integer 1\ngateway.toml:5:1: unknown key \"name\" in [devices.options] (it belongs in [[devices]], above [devices.options])"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := later(t, c.text, 0); err == nil || err.Error() != c.want {
				t.Errorf("got\n%v\nwant\n%s", err, c.want)
			}
		})
	}
}

func TestOptionsOfAMapTakeAnyKey(t *testing.T) {
	f, err := decode("[[devices]]\n[devices.options]\na = 1\nb.c = 'x'")
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := f.Devices[0].Options(&m); err != nil || fmt.Sprint(m) != "map[a:1 b:map[c:x]]" {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestFaultPointsAtTheKeyOrItsTable(t *testing.T) {
	f, err := decode(twoDevices)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"name":            `gateway.toml:7:8: sentence`,
		"options.address": `gateway.toml:8:23: sentence`,
		"options.nothing": `gateway.toml:8:11: sentence`,
		"every":           `gateway.toml:6:3: sentence`,
	} {
		if got := f.Devices[1].Fault(key, "sentence").Error(); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
}

func TestLocateGivesSentencesTheirPositions(t *testing.T) {
	d := strict.Parse("f", []byte("[group]\nmax_connections = 0\n[[group.listeners]]\naddress = 'a'\n[group.listeners.tls]\ncert = ''"))
	said := errors.Join(
		errors.New("max_connections must be at least 1"),
		errors.Join(errors.New("listeners[0].tls.cert and tls.key belong together"), errors.New("retry is wrong")),
		d.Errorf("group.listeners[0].address", "placed already"),
	)
	want := `f:2:19: group.max_connections must be at least 1
f:6:8: group.listeners.tls.cert and tls.key belong together
f:1:2: group.retry is wrong
f:4:11: placed already`
	if got := d.Locate("group", said).Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := d.Locate("buffer", errors.New("sync is wrong")).Error(); got != "f:1:1: buffer.sync is wrong" {
		t.Errorf("a section that is not in the file: got %s", got)
	}
	if got := d.Locate("group", nil); got != nil {
		t.Errorf("nothing wrong: got %v", got)
	}
}

func TestMergeKeepsOneErrorPerPlace(t *testing.T) {
	_, first := decode("port = true\n")
	later := strict.Errors{
		{Path: "gateway.toml", Line: 1, Column: 8, Sentence: "port is out of range"},
		{Path: "gateway.toml", Line: 1, Column: 1, Sentence: "another"},
	}
	want := "gateway.toml:1:1: another\ngateway.toml:1:8: port wants a whole number such as 10, not true"
	if err := strict.Merge(first, later); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if err := strict.Merge(nil, nil); err != nil {
		t.Errorf("nothing to merge: got %v", err)
	}
}

func TestAllFindsEveryErrorOfATree(t *testing.T) {
	d := strict.Parse("f", []byte("a = 1\nb = 2\nc = 3"))
	err := errors.Join(
		d.Errorf("c", "third"),
		fmt.Errorf("device: %w", strict.Errors{d.Errorf("a", "first"), d.Errorf("b", "second")}),
		d.Errorf("b", "second"), // found by two
		errors.New("of another kind"),
	)
	if got, want := strict.All(err).Error(), "f:1:5: first\nf:2:5: second\nf:3:5: third"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := strict.All(errors.New("of another kind")); got != nil {
		t.Errorf("got %v", got)
	}
	if got := strict.All(nil); got != nil {
		t.Errorf("got %v", got)
	}
}
