package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/drivers/all"
)

func configOf(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateway.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCheckDoubtsQuantitiesAndUnitsThatMeanNothing(t *testing.T) {
	for _, c := range []struct{ name, channels, want string }{
		{"a quantity with a slip", `quantity = "temprature"`, `there is no quantity "temprature" (did you mean "temperature"?)`},
		{"one of another case", `quantity = "Water"`, `there is no quantity "Water" (did you mean "water"?)`},
		{"a unit of nothing", "quantity = \"temperature\"\nunit = \"F\"", `the unit "F" is none that Home Assistant takes for temperature; it would show a number without a device class. It takes °C, °F, K`},
		{"a unit of something else", "quantity = \"water\"\nunit = \"kWh\"", `the unit "kWh" is none that Home Assistant takes for water`},
		{"a quantity of one's own", "quantity = \"radon\"\nunit = \"Bq/m³\"", ""},
		{"what Home Assistant has no class for", "quantity = \"ratio\"\nunit = \"ppb\"", ""},
		{"the unit of the driver", `quantity = "temperature"`, ""},
		{"a unit alone", `unit = "furlongs"`, ""},
		{"both as they are", "quantity = \"moisture\"\nunit = \"%\"", ""},
	} {
		for place, text := range map[string]string{
			"channels": "kind = \"sim\"\n[devices.channels.temperature]\n" + c.channels,
			"options":  "kind = \"sim\"\n[[devices.options.channels]]\nname = \"a\"\nwave = \"sine\"\n[[devices.options.channels]]\nname = \"t\"\nwave = \"sine\"\n" + c.channels,
		} {
			var out strings.Builder
			file := configOf(t, "data_dir = \""+t.TempDir()+"\"\n[status]\naddress = \"127.0.0.1:0\"\n[[broker.listeners]]\naddress = \"tcp://127.0.0.1:0\"\n[[devices]]\nname = \"x\"\n"+text+"\n")
			err := check(t.Context(), &process{stdout: &out, getenv: func(string) string { return "" }}, file, true)
			var warned []string
			for line := range strings.Lines(out.String()) {
				if strings.HasPrefix(line, "warning  device x") {
					warned = append(warned, line)
				}
			}
			got := strings.Join(warned, "")
			if err != nil || (c.want == "") != (got == "") || !strings.Contains(got, c.want) || len(warned) > 1 {
				t.Errorf("%s in %s: %v, got %q, want %q\n%s", c.name, place, err, got, c.want, &out)
			}
			if c.want != "" && !strings.Contains(got, "gateway.toml:") {
				t.Errorf("%s in %s: %q says no place", c.name, place, got)
			}
		}
	}
}

func TestNoExampleOfAKindIsDoubted(t *testing.T) {
	for _, k := range all.Kinds() {
		cfg, err := checkedConfig(configOf(t, k.Example), func(string) string { return "" })
		if err != nil || len(cfg.Devices) == 0 {
			t.Errorf("%s: %d devices, %v", k.Name, len(cfg.Devices), err)
		}
		for _, d := range cfg.Devices {
			if doubts := quantityDoubts(d); len(doubts) > 0 {
				t.Errorf("%s: %v", k.Name, doubts)
			}
		}
	}
}
