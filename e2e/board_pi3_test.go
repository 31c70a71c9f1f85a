package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"edgegateway/drivers/i2c"
)

// pi3Checks are for a Raspberry Pi 3 with the build for ARM of 64 bits. Beside the
// TMP105 are on bus 1: a TMP421 at 0x4c, an EEPROM of 4 KiB at 0x50, a magnetometer at
// 0x1e, for which the kernel has a driver, and a multiplexer at 0x70, with a TMP105 at
// 0x49 behind its first switch. Behind the USB controller is a hub with two serial
// adapters, each the other end of the other.
var pi3Checks = append(piChecks,
	check{"a wire that comes off and on", aWireThatComesOff},
	check{"registers of a chip without a kind, and those of an EEPROM", registersOfOtherChips},
	check{"a chip that measures for 700 ms holds up nobody", aChipThatNeeds700ms},
	check{"a chip of the kernel is read by iio, and its address is told as taken", aChipOfTheKernel},
	check{"the processor's temperature is the Raspberry Pi's", theProcessorsTemperature},
	check{"a serial adapter that the kernel loses and finds again", aSerialAdapterGoesAndComes},
)

// transfer makes one transfer on bus 1 beside the gateway.
func transfer(t *testing.T, address uint16, w, r []byte) {
	t.Helper()
	wire, err := i2c.System(1)
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	if err := wire.Tx(address, w, r); err != nil {
		t.Fatalf("address %#02x: %v", address, err)
	}
}

func aWireThatComesOff(t *testing.T) {
	wire := func(on byte) { transfer(t, 0x70, []byte{on}, nil) }
	wire(1)
	t.Cleanup(func() { wire(0) })
	temperature(t, "loose", 30000)
	b := on(t, piTank+`
[[devices]]
name = "loose"
kind = "tmp102"
every = "200ms"
[devices.options]
bus = 1
address = 0x49
`)
	off := func() {
		b.until("loose", "state", ":30,")
		wire(0)
		b.until("loose", "availability", "offline")
	}
	off()
	wire(1)
	off()
	undisturbed(t, b, "tank")
	b.stop()
	if log := b.out.String(); strings.Count(log, "3 times in a row: no answer from the TMP102 at address 0x49 on I2C bus 1") != 2 {
		t.Errorf("twice off, and in the log:\n%s", log)
	}
}

func registersOfOtherChips(t *testing.T) {
	transfer(t, 0x50, []byte{0x01, 0x23, 0x80, 0x01, 0xfe, 0xff}, nil)
	transfer(t, 0x50, []byte{0x00, 0x12, 0x2a}, nil)
	b := on(t, `
[[devices]]
name = "engine"
kind = "i2c-register"
every = "100ms"
[devices.options]
bus = 1
address = 0x4c
init = [[0x0a, 0x1c]]
channels = [
	{ name = "board", register = 0, width = 16, signed = true, scale = 0.00390625, unit = "°C", quantity = "temperature" },
	{ name = "engine", register = 1, width = 16, mask = 0xfff0, shift = 4, signed = true, scale = 0.0625, unit = "°C", quantity = "temperature" },
	{ name = "maker", register = 0xfe },
]
[[devices]]
name = "plate"
kind = "i2c-register"
every = "1s"
[devices.options]
bus = 1
address = 0x50
channels = [
	{ name = "serial", register = 0x123, width = 32 },
	{ name = "offset", register = 0x125, width = 16, endian = "little", signed = true },
	{ name = "model", register = 0x12, wide = true },
]
`)
	b.until("plate", "state", `"serial":2147614463,"offset":-2,"model":42,`)
	remote := func(channel string, thousandths int) {
		qemu(t, "qom-set", map[string]any{"path": "/machine/peripheral/remote", "property": channel, "value": thousandths})
	}
	for _, c := range []struct {
		board, engine int
		want          string
	}{{25000, 99900, `"board":24.9375,"engine":99.875,"maker":85,`}, {-10250, -39000, `"board":-10.25,"engine":-39,"maker":85,`}} {
		remote("temperature0", c.board)
		remote("temperature1", c.engine)
		b.until("engine", "state", c.want)
	}
	b.stop()
}

func aChipThatNeeds700ms(t *testing.T) {
	temperature(t, "tank", 21500)
	b := on(t, piTank+`
[[devices]]
name = "slow"
kind = "i2c-register"
every = "1s"
[devices.options]
bus = 1
address = 0x4c
start = [[0x0f, 0x01]]
wait = "700ms"
channels = [{ name = "board", register = 0, width = 16, signed = true, scale = 0.00390625 }]
`)
	b.until("slow", "state", "board")
	undisturbed(t, b, "tank")
	b.until("slow", "state", "board")
	b.stop()
}

func aChipOfTheKernel(t *testing.T) {
	const bus = "/sys/bus/i2c/devices/i2c-1/"
	sh(t, "modprobe st_magn_i2c")
	put(t, bus+"new_device", "lsm303dlhc_magn 0x1e")
	put(t, "/sys/bus/iio/devices/iio:device0/sampling_frequency", "75") // the kernel waits for two measurements
	t.Cleanup(func() {
		os.WriteFile(bus+"delete_device", []byte("0x1e"), 0o644)
		exec.Command("modprobe", "-r", "st_magn_i2c").Run()
	})
	b := on(t, `
[[devices]]
name = "compass"
kind = "iio"
every = "100ms"
[devices.options]
device = "lsm303dlhc_magn"
[[devices]]
name = "same"
kind = "i2c-register"
every = "1s"
[devices.options]
bus = 1
address = 0x1e
channels = [{ name = "a", register = 0 }]
`)
	for nanotesla, gauss := range map[int]string{50000: ":0.49995,", 20000: ":0.19998,"} { // 1100 steps are a gauss, or 100 µT
		qemu(t, "qom-set", map[string]any{"path": "/machine/peripheral/compass", "property": "mag-x", "value": nanotesla})
		b.until("compass", "state", `"magn_x"`+gauss)
	}
	eventually(t, "told who has the chip", func() bool { return strings.Contains(b.out.String(), "belongs to the kernel's driver") })
	if out := runVerb(t, 0, "devices", "-scan"); !strings.Contains(out, "# 0x1e  in use by the kernel's driver st-magn-i2c (lsm303dlhc_magn): kind iio\n") {
		t.Errorf("a scan:\n%s", out)
	}
	b.stop()
	if log := b.out.String(); strings.Count(log, "address 0x1e on I2C bus 1 belongs to the kernel's driver st-magn-i2c (lsm303dlhc_magn); use the kind iio for it") != 1 {
		t.Errorf("not once in the log who has the chip:\n%s", log)
	}
}

func theProcessorsTemperature(t *testing.T) {
	millis := get(t, "/sys/class/thermal/thermal_zone0/temp")
	b := on(t, `
[[devices]]
name = "machine"
kind = "host"
every = "100ms"
`)
	if zone := get(t, "/sys/class/thermal/thermal_zone0/type"); zone != "cpu-thermal" {
		t.Errorf("the kernel calls the processor's thermal zone %q", zone)
	}
	b.until("machine", "state", fmt.Sprintf(`"cpu_temperature":%s.%s,`, millis[:2], millis[2:]))
	b.stop()
}
