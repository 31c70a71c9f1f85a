package homeassistant

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"edgegateway/drivers"
)

// documented is what Home Assistant says of its device classes for sensors: which
// units and which state classes go with each (components/sensor/const.py,
// DEVICE_CLASS_UNITS and DEVICE_CLASS_STATE_CLASSES). Units that came lately are left
// out.
var documented = map[string]struct{ units, states []string }{
	"temperature":             {[]string{"°C", "°F", "K"}, []string{measurement}},
	"humidity":                {[]string{"%"}, []string{measurement}},
	"pressure":                {[]string{"cbar", "bar", "hPa", "mmHg", "inHg", "kPa", "mbar", "Pa", "psi"}, []string{measurement}},
	"moisture":                {[]string{"%"}, []string{measurement}},
	"signal_strength":         {[]string{"dB", "dBm"}, []string{measurement}},
	"illuminance":             {[]string{"lx"}, []string{measurement}},
	"carbon_dioxide":          {[]string{"ppm"}, []string{measurement}},
	"pm1":                     {[]string{"µg/m³", "μg/m³"}, []string{measurement}},
	"pm25":                    {[]string{"µg/m³", "μg/m³"}, []string{measurement}},
	"pm10":                    {[]string{"µg/m³", "μg/m³"}, []string{measurement}},
	"voltage":                 {[]string{"V", "mV", "µV", "μV"}, []string{measurement}},
	"current":                 {[]string{"A", "mA"}, []string{measurement}},
	"power":                   {[]string{"W", "kW", "MW", "GW", "TW"}, []string{measurement}},
	"energy":                  {[]string{"Wh", "kWh", "MWh", "MJ", "GJ"}, []string{"total", totalIncreasing}},
	"energy_storage":          {[]string{"Wh", "kWh", "MWh", "MJ", "GJ"}, []string{measurement}},
	"frequency":               {[]string{"Hz", "kHz", "MHz", "GHz"}, []string{measurement}},
	"distance":                {[]string{"km", "m", "cm", "mm", "mi", "yd", "in"}, []string{measurement, "total", totalIncreasing}},
	"speed":                   {[]string{"ft/s", "m/s", "km/h", "kn", "mph"}, []string{measurement}},
	"volume":                  {[]string{"L", "mL", "gal", "m³", "ft³"}, []string{"total", totalIncreasing}},
	"volume_storage":          {[]string{"L", "mL", "gal", "m³", "ft³"}, []string{measurement}},
	"water":                   {[]string{"L", "m³", "ft³", "gal"}, []string{"total", totalIncreasing}},
	"gas":                     {[]string{"m³", "ft³"}, []string{"total", totalIncreasing}},
	"wind_speed":              {[]string{"ft/s", "m/s", "km/h", "kn", "mph"}, []string{measurement}},
	"volume_flow_rate":        {[]string{"L/min", "m³/h", "ft³/min", "gal/min"}, []string{measurement}},
	"precipitation":           {[]string{"mm", "cm", "in"}, []string{measurement, "total", totalIncreasing}},
	"precipitation_intensity": {[]string{"mm/h", "mm/d", "in/h", "in/d"}, []string{measurement}},
	"weight":                  {[]string{"kg", "g", "mg", "µg", "μg", "oz", "lb", "st"}, []string{measurement, "total", totalIncreasing}},
	"duration":                {[]string{"d", "h", "min", "s", "ms"}, []string{measurement, "total", totalIncreasing}},
	"data_size": {[]string{"bit", "kbit", "Mbit", "Gbit", "B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"},
		[]string{measurement, "total", totalIncreasing}},
}

func TestEveryQuantityHasAMeaning(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../../drivers/device.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []drivers.Quantity
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Quantity" {
				name, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, drivers.Quantity(name))
			}
		}
		return true
	})
	if len(all) < 20 {
		t.Fatalf("only %d quantities were found in package drivers", len(all))
	}
	for _, q := range all {
		if _, ok := meanings[q]; !ok {
			t.Errorf("Home Assistant is told nothing of %q", q)
		}
		if q != "" && !slices.Contains(drivers.Quantities(), q) {
			t.Errorf("%q is not among drivers.Quantities", q)
		}
	}
	if len(meanings) != len(all) {
		t.Errorf("%d meanings for %d quantities", len(meanings), len(all))
	}
}

func TestClassesGoWithTheirUnitsAndStates(t *testing.T) {
	for q, m := range meanings {
		for _, unit := range append(slices.Clone(m.units), "furlong", "") {
			for _, cumulative := range []bool{false, true} {
				c := drivers.Channel{Name: "pm2_5", Quantity: q, Unit: unit, Cumulative: cumulative}
				class := classOf(c)
				if class == "" {
					continue
				}
				d, ok := documented[class]
				switch {
				case !ok:
					t.Errorf("%s: Home Assistant has no device class %q", q, class)
				case !slices.Contains(d.units, unit):
					t.Errorf("%s in %q: Home Assistant does not take it as %s", q, unit, class)
				case !slices.Contains(d.states, stateClassOf(c)):
					t.Errorf("%s: Home Assistant does not take a %s of %s", q, stateClassOf(c), class)
				}
			}
		}
	}
}

func TestTheDocumentListsAllQuantitiesWithTheirUnits(t *testing.T) {
	text, err := os.ReadFile("../../docs/home-assistant.md")
	if err != nil {
		t.Fatal(err)
	}
	for q, m := range meanings {
		units := slices.DeleteFunc(slices.Clone(m.units), func(unit string) bool { return strings.Contains(unit, "\u03bc") }) // looks like U+00B5
		row := "| `" + string(q) + "` | " + strings.Join(units, ", ") + " |\n"
		if len(units) > 0 && !strings.Contains(string(text), row) {
			t.Errorf("docs/home-assistant.md has no row %s", row)
		}
	}
}

func TestTheUnitOfDriversGivesTheClass(t *testing.T) {
	for _, c := range []struct {
		channel drivers.Channel
		class   string
	}{
		{drivers.Channel{Quantity: drivers.Temperature, Unit: "°C"}, "temperature"},
		{drivers.Channel{Quantity: drivers.Temperature, Unit: "°Ré"}, ""},
		{drivers.Channel{Quantity: drivers.Humidity, Unit: "%"}, "humidity"},
		{drivers.Channel{Quantity: drivers.Moisture, Unit: "%"}, "moisture"},
		{drivers.Channel{Quantity: drivers.Signal, Unit: "dBm"}, "signal_strength"},
		{drivers.Channel{Quantity: drivers.Pressure, Unit: "hPa"}, "pressure"},
		{drivers.Channel{Quantity: drivers.Illuminance, Unit: "lx"}, "illuminance"},
		{drivers.Channel{Quantity: drivers.CO2, Unit: "ppm"}, "carbon_dioxide"},
		{drivers.Channel{Name: "pm2_5", Quantity: drivers.Particles, Unit: "µg/m³"}, "pm25"},
		{drivers.Channel{Name: "pm10", Quantity: drivers.Particles, Unit: "µg/m³"}, "pm10"},
		{drivers.Channel{Name: "pm1_0", Quantity: drivers.Particles, Unit: "µg/m³"}, "pm1"},
		{drivers.Channel{Name: "pm1", Quantity: drivers.Particles, Unit: "µg/m³"}, "pm1"},
		{drivers.Channel{Name: "dust", Quantity: drivers.Particles, Unit: "µg/m³"}, ""},
		{drivers.Channel{Quantity: drivers.Energy, Unit: "kWh", Cumulative: true}, "energy"},
		{drivers.Channel{Quantity: drivers.Energy, Unit: "kWh"}, "energy_storage"},
		{drivers.Channel{Quantity: drivers.Volume, Unit: "L", Cumulative: true}, "volume"},
		{drivers.Channel{Quantity: drivers.Water, Unit: "L", Cumulative: true}, "water"},
		{drivers.Channel{Quantity: drivers.Water, Unit: "L"}, ""},
		{drivers.Channel{Quantity: drivers.Gas, Unit: "m³", Cumulative: true}, "gas"},
		{drivers.Channel{Quantity: drivers.Flow, Unit: "L/min"}, "volume_flow_rate"},
		{drivers.Channel{Quantity: drivers.Rain, Unit: "mm", Cumulative: true}, "precipitation"},
		{drivers.Channel{Quantity: drivers.RainRate, Unit: "mm/h"}, "precipitation_intensity"},
		{drivers.Channel{Quantity: drivers.WindSpeed, Unit: "m/s"}, "wind_speed"},
		{drivers.Channel{Quantity: drivers.Power, Unit: "W", Cumulative: true}, ""},
		{drivers.Channel{Quantity: drivers.DurationQ, Unit: "s", Cumulative: true}, "duration"},
		{drivers.Channel{Quantity: drivers.DataSize, Unit: "B"}, "data_size"},
		{drivers.Channel{Quantity: drivers.Ratio, Unit: "%"}, ""},
		{drivers.Channel{Quantity: "radon", Unit: "Bq/m³"}, ""},
	} {
		if got := classOf(c.channel); got != c.class {
			t.Errorf("%+v: got %q, want %q", c.channel, got, c.class)
		}
	}
}

func TestIdentitiesNeverMeet(t *testing.T) {
	seen := map[string]string{}
	for _, one := range [][2]string{
		{"a", ""}, {"a", "b"}, {"a_b", ""}, {"a", "b_c"}, {"a_b", "c"}, {"a", "b.c"}, {"a", "b-c"}, {"a", "büro"}, {"a", "b_ro"}, {"a", "bxro"},
	} {
		id := objectID(one[0], one[1])
		if other, taken := seen[id]; taken {
			t.Errorf("%q is written like %s: %s", one, other, id)
		}
		seen[id] = one[0] + "/" + one[1]
		for _, r := range id {
			if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-') {
				t.Errorf("%s may not hold %q", id, r)
			}
		}
	}
	for want, one := range map[string][2]string{"pi": {"pi", ""}, "pi_boiler": {"pi", "boiler"}, "pi_living_room_91e23c6e": {"pi", "living_room"}} {
		if got := objectID(one[0], one[1]); got != want {
			t.Errorf("%q: got %s, want %s: what stands in Home Assistant would come a second time", one, got, want)
		}
	}
}

func TestTitlesAreAsPeopleWriteThem(t *testing.T) {
	for name, want := range map[string]string{
		"load_1m": "Load 1m", "pm2_5": "PM2.5", "pm10": "PM10", "rh": "RH", "hdop": "HDOP", "cpu_temperature": "CPU temperature",
		"output_ac": "Output AC", "Id card": "Id card", "größe": "Größe", "öl": "Öl", "_": "", "room__2": "Room 2",
	} {
		if got := titleOf(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
