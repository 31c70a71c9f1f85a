package iio

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"edgegateway/drivers"
)

// A meaning is what a type of channel measures, and how the kernel's unit becomes ours.
type meaning struct {
	name     string // "" = the kernel's own
	quantity drivers.Quantity
	unit     string
	factor   int // value in our unit = value in the kernel's × 10^factor
	finest   int // places that mean something, of a number that the kernel has computed
}

// meaningOf knows the types: linux: Documentation/ABI/testing/sysfs-bus-iio, each under
// its _raw. A type that is not here gives plain numbers.
func meaningOf(kind, rest string) meaning {
	switch kind {
	case "temp":
		return meaning{"temperature", drivers.Temperature, "°C", -3, 4}
	case "humidityrelative":
		return meaning{"humidity", drivers.Humidity, "%", -3, 4}
	case "pressure":
		return meaning{"", drivers.Pressure, "hPa", 1, 4} // from kPa
	case "illuminance":
		return meaning{"", drivers.Illuminance, "lx", 0, 4}
	case "voltage":
		return meaning{"", drivers.Voltage, "V", -3, 9}
	case "current":
		return meaning{"", drivers.Current, "A", -3, 9}
	case "power":
		return meaning{"", drivers.Power, "W", -3, 9}
	case "resistance":
		return meaning{"", "", "Ω", 0, 6}
	case "capacitance":
		return meaning{"", "", "nF", 0, 6}
	case "electricalconductivity":
		return meaning{"", "", "S/m", 0, 6}
	case "distance":
		return meaning{"", drivers.Distance, "m", 0, 6}
	case "velocity", "deltavelocity":
		return meaning{"", drivers.Speed, "m/s", 0, 6}
	case "accel", "gravity":
		return meaning{"", "", "m/s²", 0, 6}
	case "anglvel":
		return meaning{"", "", "rad/s", 0, 9}
	case "angl", "deltaangl", "phase":
		return meaning{"", "", "rad", 0, 9}
	case "incli":
		return meaning{"", "", "°", 0, 6}
	case "magn":
		return meaning{"", "", "G", 0, 9}
	case "concentration":
		if rest == "_co2" {
			return meaning{"", drivers.CO2, "ppm", 4, 2} // from percent
		}
		return meaning{"", "", "%", 0, 9}
	case "massconcentration":
		return meaning{"", drivers.Particles, "µg/m³", 0, 4}
	case "energy":
		return meaning{"", "", "J", 0, 6}
	case "activity":
		return meaning{"", "", "%", 0, 4}
	case "positionrelative":
		return meaning{"", "", "%", -3, 4}
	}
	return meaning{finest: 9}
}

// A decimal is a number as the kernel writes it: "21500", "0.125000000".
type decimal struct {
	value  float64
	places int // behind the point, without zeros at the end
}

func parse(text string) (decimal, error) {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		return decimal{}, fmt.Errorf("%.60q is not a number", text)
	}
	_, fraction, _ := strings.Cut(text, ".")
	return decimal{value, len(strings.TrimRight(fraction, "0"))}, nil
}

// processed brings what the kernel has computed into our unit. Quotients come with nine
// places, of which the last are no measurement.
func (m meaning) processed(d decimal) float64 {
	return drivers.Round(shift(d.value, m.factor), min(max(d.places-m.factor, 0), m.finest))
}

// scaled is (raw + offset) × scale in our unit, with as many places as that has, but at
// most two more than one step of the converter needs: a scale such as 0.030517578 is cut
// off itself.
func (m meaning) scaled(raw, offset, scale decimal) float64 {
	value := shift((raw.value+offset.value)*scale.value, m.factor)
	steps := max(raw.places, offset.places)
	places := max(steps+scale.places-m.factor, 0)
	if step := shift(math.Abs(scale.value), m.factor-raw.places); step > 0 && !math.IsInf(step, 0) {
		places = min(places, max(int(math.Ceil(-math.Log10(step)))+2, 0))
	}
	return drivers.Round(value, min(places, drivers.MostDecimals))
}

// shift moves the point of a number; a division by a power of ten is exact where a
// multiplication by 0.001 is not.
func shift(f float64, places int) float64 {
	if places < 0 {
		return f / math.Pow10(-places)
	}
	return f * math.Pow10(places)
}
