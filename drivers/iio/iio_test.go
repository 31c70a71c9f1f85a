package iio_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"edgegateway/drivers"
	"edgegateway/drivers/iio"
)

// chip is a device of the kernel: where it is, and its files, one on a line. What is in
// them is in the form that its driver writes.
type chip struct{ place, files string }

var (
	// drivers/iio/pressure/bmp280-core.c: all is computed in the kernel, pressure and
	// humidity as quotients.
	bme280 = chip{"1-0076", `
		name bme280
		in_temp_input 22490
		in_temp_oversampling_ratio 2
		in_pressure_input 100.263671875
		in_pressure_oversampling_ratio 16
		in_humidityrelative_input 43163.085937500
		sampling_frequency_available 1 2`}
	// drivers/iio/humidity/dht11.c
	dht22 = chip{"dht11@4", `
		name dht11@4
		in_temp_input -5700
		in_humidityrelative_input 61300`}
	// drivers/iio/adc/ti-ads1015.c, as an ADS1115 with its full scale at 2.048 V
	ads1115 = chip{"1-0048", `
		name ads1015
		label supply
		in_voltage0_raw 12345
		in_voltage0_scale 0.062500000
		in_voltage0_sampling_frequency 128
		in_voltage0-voltage1_raw -3
		in_voltage0-voltage1_scale 0.062500000
		scale_available 3 2 1 0.5 0.25 0.125`}
	// drivers/iio/adc/mcp320x.c: one scale for all, one for all differences; 3.3 V and 10 bits
	mcp3008 = chip{"spi0.0", `
		name mcp3008
		in_voltage0_raw 1023
		in_voltage3_raw 1
		in_voltage_scale 3.222656250
		in_voltage0-voltage1_raw 512
		in_voltage-voltage_scale 3.222656250`}
	// drivers/iio/humidity/hdc100x.c: offset and scale
	hdc1008 = chip{"1-0040", `
		name hdc1008
		in_temp_raw 26200
		in_temp_offset -15887.515151
		in_temp_scale 2.517700195
		in_humidityrelative_raw 32768
		in_humidityrelative_scale 1.525878906
		out_current_heater_raw 0`}
	// drivers/iio/imu/inv_mpu6050, drivers/iio/magnetometer/hmc5843_core.c
	imu = chip{"1-0068", `
		name mpu6050
		in_accel_x_raw -164
		in_accel_y_raw 8
		in_accel_z_raw 16384
		in_accel_z_peak_raw 17000
		in_accel_scale 0.000598
		in_accel_x_calibbias 12
		in_anglvel_z_raw -120
		in_anglvel_scale 0.001064724
		in_magn_x_raw 210
		in_magn_x_scale 0.000000917
		in_rot_quaternion_raw 0 0 0 1
		in_mount_matrix 1, 0, 0; 0, 1, 0; 0, 0, 1`}
	// drivers/iio/chemical/scd30_core.c, sps30.c; drivers/iio/light
	air = chip{"1-0061", `
		name scd30
		in_concentration_co2_raw 81234
		in_concentration_co2_scale 0.000001
		in_concentration_voc_raw 3
		in_concentration_voc_scale 0.001
		in_massconcentration_pm2p5_input 12.340000
		in_illuminance_input 123.450000
		in_proximity_raw 2047
		in_intensity_both_raw 300
		in_distance_raw 1234
		in_distance_scale 0.001000
		in_resistance_raw 10000
		in_resistance_scale 0.5
		in_power0_input 1234567
		in_current0_input 0.25
		in_ph_raw 70
		in_ph_scale 0.1
		in_velocity_sqrt(x^2+y^2+z^2)_input 1.5`}
)

// machine makes /sys/bus/iio/devices with these chips as iio:device0 and so on.
func machine(t *testing.T, chips ...chip) (root string) {
	t.Helper()
	root = t.TempDir()
	bus := filepath.Join(root, "sys/bus/iio/devices")
	if err := os.MkdirAll(filepath.Join(bus, "trigger0"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i, c := range chips {
		number := "iio:device" + string('0'+rune(i))
		dir := filepath.Join(root, "sys/devices", c.place, number)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(strings.TrimSpace(c.files)) {
			file, text, _ := strings.Cut(strings.TrimSpace(line), " ")
			write(t, filepath.Join(dir, file), text)
		}
		if err := os.Symlink("../../../devices/"+c.place+"/"+number, filepath.Join(bus, number)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// replace puts something else, that make makes, in the place of a file.
func replace(t *testing.T, path string, with func(path string) error) {
	t.Helper()
	if err := errors.Join(os.Remove(path), with(path)); err != nil {
		t.Fatal(err)
	}
}

func with(options string) func(any) error {
	return func(dst any) error {
		return toml.NewDecoder(strings.NewReader(options)).DisallowUnknownFields().Decode(dst)
	}
}

func open(t *testing.T, root, options string) (drivers.Sampler, error) {
	t.Helper()
	d, err := iio.Kind().Open(t.Context(), with(options), drivers.Ports{Root: root})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { d.Close() })
	return d.(drivers.Sampler), nil
}

func mustOpen(t *testing.T, root, options string) drivers.Sampler {
	t.Helper()
	d, err := open(t, root, options)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestChipsInOurUnits(t *testing.T) {
	type value struct {
		name     string
		v        float64
		unit     string
		quantity drivers.Quantity
	}
	for _, c := range []struct {
		name string
		chip chip
		want []value
	}{
		{"bme280", bme280, []value{
			{"humidity", 43.1631, "%", drivers.Humidity},
			{"pressure", 1002.6367, "hPa", drivers.Pressure},
			{"temperature", 22.49, "°C", drivers.Temperature},
		}},
		{"dht22", dht22, []value{
			{"humidity", 61.3, "%", drivers.Humidity},
			{"temperature", -5.7, "°C", drivers.Temperature},
		}},
		{"ads1115", ads1115, []value{
			{"voltage0_voltage1", -0.0001875, "V", drivers.Voltage},
			{"voltage0", 0.7715625, "V", drivers.Voltage},
		}},
		// A step is 3.22 mV.
		{"mcp3008", mcp3008, []value{
			{"voltage0_voltage1", 1.65, "V", drivers.Voltage},
			{"voltage0", 3.29678, "V", drivers.Voltage},
			{"voltage3", 0.00322, "V", drivers.Voltage},
		}},
		{"hdc1008", hdc1008, []value{
			{"humidity", 50, "%", drivers.Humidity},
			{"temperature", 25.96375, "°C", drivers.Temperature},
		}},
		{"imu", imu, []value{
			{"accel_x", -0.098072, "m/s²", ""},
			{"accel_y", 0.004784, "m/s²", ""},
			{"accel_z", 9.797632, "m/s²", ""},
			{"anglvel_z", -0.12777, "rad/s", ""},
			{"magn_x", 0.00019257, "G", ""},
		}},
		{"air", air, []value{
			{"concentration_co2", 812.34, "ppm", drivers.CO2},
			{"concentration_voc", 0.003, "%", ""},
			{"current0", 0.00025, "A", drivers.Current},
			{"distance", 1.234, "m", drivers.Distance},
			{"illuminance", 123.45, "lx", drivers.Illuminance},
			{"intensity_both", 300, "", ""},
			{"massconcentration_pm2p5", 12.34, "µg/m³", drivers.Particles},
			{"ph", 7, "", ""},
			{"power0", 1234.567, "W", drivers.Power},
			{"proximity", 2047, "", ""},
			{"resistance", 5000, "Ω", ""},
			{"velocity_sqrt_x_2_y_2_z_2", 1.5, "m/s", drivers.Speed},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := mustOpen(t, machine(t, c.chip), "")
			r, err := d.Sample(t.Context())
			if err != nil || r.Fault != nil || len(r.Bad) != 0 || r.At.IsZero() {
				t.Fatal(err, r.Fault, r.Bad, r.At)
			}
			channels := d.Channels()
			if len(r.Values) != len(c.want) || len(channels) != len(c.want) {
				t.Fatalf("values %v, channels %v", r.Values, channels)
			}
			for i, want := range c.want {
				ch := channels[i]
				got := value{r.Values[i].Channel, r.Values[i].V.(float64), ch.Unit, ch.Quantity}
				if got != want || ch.Name != want.name || ch.Type != drivers.Float || ch.Writable {
					t.Errorf("got %v (%+v), want %v", got, ch, want)
				}
			}
		})
	}
}

// A number whose scale nobody tells is a plain number, whatever its type.
func TestARawNumberWithoutAScaleHasNoUnit(t *testing.T) {
	d := mustOpen(t, machine(t, chip{"1-0048", "name adc\nin_voltage0_raw 1234\nin_temp_raw 512\nin_temp_offset -12"}), "")
	r, err := d.Sample(t.Context())
	want := []drivers.Value{{Channel: "temperature", V: 500.0}, {Channel: "voltage0", V: 1234.0}}
	if err != nil || !slices.Equal(r.Values, want) {
		t.Errorf("%v, %v", r, err)
	}
	for _, c := range d.Channels() {
		if c.Unit != "" || c.Quantity != "" {
			t.Errorf("%+v", c)
		}
	}
}

// Where a driver offers both, the kernel knows better how to compute.
func TestWhatTheKernelComputedIsPreferred(t *testing.T) {
	d := mustOpen(t, machine(t, chip{"1-0039", "name tsl2561\nin_illuminance0_input 41\nin_illuminance0_raw 9\nin_illuminance0_scale 2"}), "")
	r, err := d.Sample(t.Context())
	if err != nil || len(r.Values) != 1 || r.Values[0] != (drivers.Value{Channel: "illuminance0", V: 41.0}) {
		t.Errorf("%v, %v", r, err)
	}
}

func TestScaleMayBeSharedByAll(t *testing.T) {
	for name, files := range map[string]string{
		"its own before its type's": "in_voltage1_raw 100\nin_voltage1_scale 20\nin_voltage_scale 1\nscale 1",
		"by its type":               "in_voltage1_raw 100\nin_voltage_scale 20\nin_scale 1\nscale 1",
		"by type and modifier":      "in_voltage1_q_raw 100\nin_voltage_q_scale 20\nin_voltage_i_scale 1",
		"by all inputs":             "in_voltage1_raw 100\nin_scale 20\nscale 1",
		"by all":                    "in_voltage1_raw 100\nscale 20",
		"an offset, too":            "in_voltage1_raw 50\nin_offset 50\nscale 20",
	} {
		r, err := mustOpen(t, machine(t, chip{"x", files}), "").Sample(t.Context())
		if err != nil || r.Fault != nil || len(r.Values) != 1 || r.Values[0].V != 2.0 {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

func TestAScaleMayChangeMeanwhile(t *testing.T) {
	root := machine(t, ads1115)
	d := mustOpen(t, root, `channels = ["voltage0"]`)
	write(t, filepath.Join(root, "sys/devices/1-0048/iio:device0/in_voltage0_scale"), "0.125000000")
	if r, err := d.Sample(t.Context()); err != nil || r.Values[0].V != 1.543125 {
		t.Errorf("%v, %v", r, err)
	}
}

func TestDevicesAreFoundByWhatIsTheirs(t *testing.T) {
	root := machine(t, bme280, ads1115, dht22)
	for device, want := range map[string]string{
		"bme280": "humidity", "1-0076": "humidity", "iio:device0": "humidity",
		"ads1015": "voltage0_voltage1", "supply": "voltage0_voltage1", "iio:device1": "voltage0_voltage1",
		"dht11@4": "humidity",
	} {
		if got := mustOpen(t, root, `device = "`+device+`"`).Channels()[0].Name; got != want {
			t.Errorf("%s: %s, want %s", device, got, want)
		}
	}
}

func TestScanShowsTheDevices(t *testing.T) {
	found, err := iio.Scan(machine(t, bme280, ads1115, dht22))
	var got []string
	for _, f := range found {
		got = append(got, f.String())
	}
	want := []string{"iio:device0  bme280 at 1-0076", `iio:device1  ads1015 "supply" at 1-0048`, "iio:device2  dht11@4"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %q, want %q", err, got, want)
	}
	if found, err := iio.Scan(t.TempDir()); err != nil || len(found) != 0 {
		t.Errorf("a machine without any: %v, %v", found, err)
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	second := bme280
	second.place = "1-0077"
	for _, c := range []struct{ name, root, options, want string }{
		{"no Industrial I/O", t.TempDir(), `device = "bme280"`, `the iio device "bme280" is not there; the kernel has none: put a line for its driver into /boot/firmware/config.txt and restart, such as dtoverlay=i2c-sensor,bme280`},
		{"no device", machine(t), "", `an iio device is not there; the kernel has none`},
		{"another device", machine(t, ads1115, dht22), `device = "bme280"`, `the iio device "bme280" is not there; the kernel has iio:device0  ads1015 "supply" at 1-0048, iio:device1  dht11@4`},
		{"two of a name", machine(t, bme280, second), `device = "bme280"`, `best by its place: iio:device0  bme280 at 1-0076, iio:device1  bme280 at 1-0077`},
		{"several and none named", machine(t, bme280, dht22), "", `which iio device is not clear`},
		{"no inputs", machine(t, chip{"1-0060", "name mcp4725\nout_voltage0_raw 0\nout_voltage0_scale 0.8"}), "", `iio:device0  mcp4725 at 1-0060 has no inputs`},
		{"no such channel", machine(t, bme280), `channels = ["temp", "voltage0"]`, `the channel "voltage0" is not there; the device has humidity, pressure, temperature`},
		{"a channel twice", machine(t, bme280), `channels = ["temp", "temperature"]`, `channels names temperature twice`},
	} {
		if _, err := open(t, c.root, c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

func TestChannelsAreChosenByOurNameOrTheKernels(t *testing.T) {
	d := mustOpen(t, machine(t, mcp3008), `channels = ["voltage3", "voltage0-voltage1"]`)
	r, err := d.Sample(t.Context())
	want := []drivers.Value{{Channel: "voltage3", V: 0.00322}, {Channel: "voltage0_voltage1", V: 1.65}}
	if err != nil || !slices.Equal(r.Values, want) || len(d.Channels()) != 2 {
		t.Errorf("%v, %v, %v", r, err, d.Channels())
	}
}

func TestOneBadChannelLeavesTheOthersAlone(t *testing.T) {
	for _, c := range []struct {
		name, want string
		err        error
		make       func(path string) error
	}{
		// A read of one's own memory at address 0 is EIO, as a bad checksum of a DHT11 is.
		{"an I/O error", "in_temp_input gave nothing; if that stays so, check its wiring", syscall.EIO, func(path string) error { return os.Symlink("/proc/self/mem", path) }},
		{"no acknowledge", "in_temp_input gave nothing; if that stays so, check its wiring", syscall.ENXIO, socket},
		{"no number", `in_temp_input: "n/a" is not a number`, nil, func(path string) error { return os.WriteFile(path, []byte("n/a\n"), 0o644) }},
		{"not a number", `in_temp_input: "NaN" is not a number`, nil, func(path string) error { return os.WriteFile(path, []byte("NaN\n"), 0o644) }},
		{"several numbers", `in_temp_input: "1 2" is not a number`, nil, func(path string) error { return os.WriteFile(path, []byte("1 2\n"), 0o644) }},
		{"nothing", `in_temp_input: "" is not a number`, nil, func(path string) error { return os.WriteFile(path, nil, 0o644) }},
		{"no file", "no such file", os.ErrNotExist, func(string) error { return nil }},
	} {
		root := machine(t, dht22)
		d := mustOpen(t, root, "")
		path := filepath.Join(root, "sys/devices/dht11@4/iio:device0/in_temp_input")
		replace(t, path, c.make)
		r, err := d.Sample(t.Context())
		if err != nil || !slices.Equal(r.Values, []drivers.Value{{Channel: "humidity", V: 61.3}}) || !slices.Equal(r.Bad, []string{"temperature"}) {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
		if r.Fault == nil || !strings.Contains(r.Fault.Error(), c.want) || !strings.Contains(r.Fault.Error(), "dht11@4") || errors.Is(r.Fault, drivers.ErrGone) || c.err != nil && !errors.Is(r.Fault, c.err) {
			t.Errorf("%s: fault %v", c.name, r.Fault)
		}
		_ = os.Remove(path)
		write(t, path, "21400")
		if r, err := d.Sample(t.Context()); err != nil || r.Fault != nil || len(r.Values) != 2 {
			t.Errorf("%s: afterwards %+v, %v", c.name, r, err)
		}
	}
}

// socket makes what cannot be opened: ENXIO. Its path is made short for it.
func socket(path string) error {
	dir, err := os.MkdirTemp("", "iio")
	if err != nil {
		return err
	}
	short := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	return errors.Join(l.Close(), os.Rename(short, path), os.Remove(dir))
}

func TestABrokenScaleSpoilsItsChannelAlone(t *testing.T) {
	root := machine(t, ads1115)
	d := mustOpen(t, root, "")
	write(t, filepath.Join(root, "sys/devices/1-0048/iio:device0/in_voltage0_scale"), "10 dB")
	r, err := d.Sample(t.Context())
	if err != nil || len(r.Values) != 1 || r.Values[0].Channel != "voltage0_voltage1" || !slices.Equal(r.Bad, []string{"voltage0"}) || !strings.Contains(r.Fault.Error(), "in_voltage0_scale") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestADeviceMayVanishAndComeBackUnderAnotherNumber(t *testing.T) {
	root := machine(t, bme280)
	d := mustOpen(t, root, `device = "bme280"`)
	link := filepath.Join(root, "sys/bus/iio/devices/iio:device0")
	place := filepath.Join(root, "sys/devices/1-0076/iio:device0")
	away := filepath.Join(root, "away")
	if err := errors.Join(os.Remove(link), os.Rename(place, away)); err != nil {
		t.Fatal(err)
	}
	// Another chip has its number meanwhile; it must not be read in its stead.
	other := filepath.Join(root, "sys/devices/1-0077/iio:device0")
	if err := errors.Join(os.MkdirAll(other, 0o755), os.Symlink(other, link)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(other, "in_temp_input"), "99000")
	if r, err := d.Sample(t.Context()); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("a device that vanished: %+v, %v", r, err)
	}
	var missing *drivers.MissingError
	if _, err := open(t, root, `device = "bme280"`); !errors.As(err, &missing) {
		t.Errorf("opened while it was away: %v", err)
	}
	again := filepath.Join(root, "sys/devices/1-0076/iio:device1")
	if err := errors.Join(os.Rename(away, again), os.Symlink(again, filepath.Join(filepath.Dir(link), "iio:device1"))); err != nil {
		t.Fatal(err)
	}
	if r, err := mustOpen(t, root, `device = "bme280"`).Sample(t.Context()); err != nil || len(r.Values) != 3 {
		t.Errorf("back again: %+v, %v", r, err)
	}
}

func TestNoChannelIsReadAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := mustOpen(t, machine(t, bme280), "").Sample(ctx); !errors.Is(err, context.Canceled) || len(r.Values) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWrongOptions(t *testing.T) {
	for options, want := range map[string]string{
		`device = "/sys/bus/iio/devices/iio:device0"`: "device must be the name",
		`channels = [""]`:                  "channels[0] holds",
		`channels = ["temp, humidity"]`:    "channels[0] holds",
		`channels = ["../1-0077/name"]`:    "channels[0] holds",
		`scale = 2`:                        "strict mode",
		`device = "bme280"`:                "",
		`channels = ["voltage0-voltage1"]`: "",
	} {
		err := iio.Kind().Check(with(options))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", options, err, want)
		}
	}
}
