package strict_test

import (
	"errors"
	"testing"

	"edgegateway/config/strict"
)

// FuzzDecode looks for panics, and for errors that point outside of the file.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"", twoDevices, "a.b.c = 1\n[a.b]\n[[a.b.c]]", "words = [[1, 2], {a = 1}]", "any = {a.b = 1, a.c = 2}",
		"text = \"\\u00e4\"\nratio = 0x_1", "[[devices]]\n[devices.options]\n[[devices.options.register]]\nscale = 0",
		"wait = \"\"\"10s\"\"\"", "\"\" = 1", "[group]\nlisteners = [{up = [{from = 'a'}]}]", "port = 2026-01-01 00:00:00",
		"scales = {\n x = 1,\n}\r\n", "any = -inf",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		doc := strict.Parse("f", text)
		v := defaults()
		err := doc.Decode(&v, elements...)
		for _, d := range v.Devices {
			if d.Options != nil {
				o := options{}
				err = errors.Join(err, d.Options(&o), d.Options(new(any)), d.Fault("options.bus", "x"))
			}
		}
		doc.Locate("devices[0]", errors.New("options.register[0].scale is wrong"))
		var all strict.Errors
		if errors.As(err, &all) {
			for _, e := range all {
				if e.Line < 1 || e.Column < 1 || e.Column > len(text)+1 || e.Sentence == "" {
					t.Errorf("a strange error: %+v", *e)
				}
			}
		}
	})
}
