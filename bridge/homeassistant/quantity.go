package homeassistant

import (
	"slices"
	"strings"

	"edgegateway/drivers"
)

// A meaning is what Home Assistant makes of a quantity.
type meaning struct {
	class string   // device class of a sensor or number; "" = none
	units []string // that Home Assistant takes with the class; a value in another one goes without
	total string   // class of a channel that only grows, where that is another one; "-" = none
}

// What the state class may be: a device class of a total is refused for a
// measurement and the other way round.
const (
	measurement     = "measurement"
	totalIncreasing = "total_increasing"
)

// meanings has every quantity of package drivers. Particles are told apart by the
// name of their channel, see classOf.
var meanings = map[drivers.Quantity]meaning{
	drivers.Temperature:   {class: "temperature", units: []string{"°C", "°F", "K"}, total: "-"},
	drivers.Humidity:      {class: "humidity", units: []string{"%"}, total: "-"},
	drivers.Pressure:      {class: "pressure", units: []string{"hPa", "Pa", "kPa", "mbar", "cbar", "bar", "mmHg", "inHg", "psi"}, total: "-"},
	drivers.Moisture:      {class: "moisture", units: []string{"%"}, total: "-"},
	drivers.Illuminance:   {class: "illuminance", units: []string{"lx"}, total: "-"},
	drivers.CO2:           {class: "carbon_dioxide", units: []string{"ppm"}, total: "-"},
	drivers.Particles:     {units: []string{"µg/m³", "μg/m³"}, total: "-"}, // U+00B5 and U+03BC
	drivers.Voltage:       {class: "voltage", units: []string{"V", "mV", "µV", "μV"}, total: "-"},
	drivers.Current:       {class: "current", units: []string{"A", "mA"}, total: "-"},
	drivers.Power:         {class: "power", units: []string{"W", "kW", "MW", "GW", "TW"}, total: "-"},
	drivers.Energy:        {class: "energy_storage", units: []string{"kWh", "Wh", "MWh", "MJ", "GJ"}, total: "energy"},
	drivers.Frequency:     {class: "frequency", units: []string{"Hz", "kHz", "MHz", "GHz"}, total: "-"},
	drivers.Distance:      {class: "distance", units: []string{"m", "km", "cm", "mm", "mi", "yd", "in"}},
	drivers.Speed:         {class: "speed", units: []string{"m/s", "km/h", "kn", "mph", "ft/s"}, total: "-"},
	drivers.Volume:        {class: "volume_storage", units: []string{"L", "mL", "m³", "ft³", "gal"}, total: "volume"},
	drivers.Water:         {units: []string{"L", "m³", "ft³", "gal"}, total: "water"},
	drivers.Gas:           {units: []string{"m³", "ft³"}, total: "gas"},
	drivers.Flow:          {class: "volume_flow_rate", units: []string{"L/min", "m³/h", "ft³/min", "gal/min"}, total: "-"},
	drivers.Rain:          {class: "precipitation", units: []string{"mm", "cm", "in"}},
	drivers.RainRate:      {class: "precipitation_intensity", units: []string{"mm/h", "mm/d", "in/h", "in/d"}, total: "-"},
	drivers.WindSpeed:     {class: "wind_speed", units: []string{"m/s", "km/h", "kn", "mph", "ft/s"}, total: "-"},
	drivers.Weight:        {class: "weight", units: []string{"kg", "g", "mg", "µg", "μg", "oz", "lb", "st"}},
	drivers.DurationQ:     {class: "duration", units: []string{"s", "ms", "min", "h", "d"}},
	drivers.DataSize:      {class: "data_size", units: []string{"B", "bit", "kbit", "Mbit", "Gbit", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"}},
	drivers.Signal:        {class: "signal_strength", units: []string{"dBm", "dB"}, total: "-"},
	drivers.Ratio:         {},
	drivers.State:         {},
	drivers.Count:         {},
	drivers.LoadAverage:   {},
	drivers.UnknownNumber: {},
}

// Units are those that Home Assistant takes for a quantity; nil: it makes no device class
// of it.
func Units(q drivers.Quantity) []string { return slices.Clone(meanings[q].units) }

// classOf is the device class of a number, "" if there is none that fits.
func classOf(c drivers.Channel) string {
	m := meanings[c.Quantity]
	class := m.class
	switch {
	case c.Cumulative && m.total == "-":
		return ""
	case c.Quantity == drivers.Particles:
		class = particles(c.Name)
	case c.Cumulative && m.total != "":
		class = m.total
	}
	if !slices.Contains(m.units, c.Unit) {
		return ""
	}
	return class
}

// particles is the class for the largest size that a channel counts, which stands
// in its name.
func particles(name string) string {
	for _, size := range []struct{ name, class string }{
		{"2_5", "pm25"}, {"2.5", "pm25"}, {"25", "pm25"}, {"1_0", "pm1"}, {"1.0", "pm1"}, {"10", "pm10"}, {"pm1", "pm1"},
	} {
		if strings.Contains(name, size.name) {
			return size.class
		}
	}
	return ""
}

func stateClassOf(c drivers.Channel) string {
	if c.Cumulative {
		return totalIncreasing
	}
	return measurement
}
