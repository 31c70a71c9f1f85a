package i2c_test

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"edgegateway/drivers"
	"edgegateway/drivers/all"
	"edgegateway/drivers/i2c"
	"edgegateway/drivers/i2c/i2ctest"
)

// lines are what a person sees of a scan.
func lines(found []i2c.Found) (all []string) {
	for _, f := range found {
		all = append(all, f.String())
	}
	return all
}

func TestScanTellsWhoIsOnTheBus(t *testing.T) {
	bus := new(i2ctest.Bus).Attach(0x48, i2ctest.Words{}).Attach(0x76, new(i2ctest.Memory)).Attach(0x0b, i2ctest.Words{})
	bus.Take(0x68)
	found, err := i2c.Scan(t.Context(), bus.Wire(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want(t, lines(found), "0x0b  unknown; the kind i2c-register can read it", "0x48  tmp102 (also TMP105, TMP75), ads1115, ads1015, ina219, LM75 by i2c-register",
		"0x68  in use by the kernel's driver rtc-ds1307 (ds3231)", "0x76  bme280, bmp280, multiplexer (TCA9548A)")
	bus.Unplug()
	if found, err := i2c.Scan(t.Context(), bus.Wire(), 1); !errors.Is(err, drivers.ErrGone) || len(found) != 0 {
		t.Errorf("a bus that is gone: %v, %v", found, err)
	}
}

// A prober answers each address as it is told.
type prober struct {
	i2c.Wire
	asked  []uint16
	answer func(address uint16) error
}

func (p *prober) Claim(uint16) error { return nil }
func (p *prober) Probe(address uint16) error {
	p.asked = append(p.asked, address)
	return p.answer(address)
}

func TestScanOfABusThatIsStuckEndsEarly(t *testing.T) {
	p := &prober{answer: func(address uint16) error {
		switch {
		case address >= 0x30:
			return syscall.ETIMEDOUT
		case address == 0x20:
			return nil
		}
		return syscall.EREMOTEIO
	}}
	found, err := i2c.Scan(t.Context(), p, 1)
	const wants = "address 0x32 on I2C bus 1: connection timed out: SDA or SCL is held low since the transfer with address 0x30; power-cycle that chip, check its wiring"
	if err == nil || err.Error() != wants || len(p.asked) != 0x33-0x08 {
		t.Errorf("%d addresses asked, %v", len(p.asked), err)
	}
	want(t, lines(found), "0x20  port expander (PCF8574, MCP23017)")
}

func TestScanOfABusThatWasStuckBeforeBlamesNobody(t *testing.T) {
	p := &prober{answer: func(uint16) error { return syscall.ETIMEDOUT }}
	found, err := i2c.Scan(t.Context(), p, 1)
	const wants = "I2C bus 1: connection timed out: SDA or SCL is held low, or the pull-up resistors are missing; power-cycle its chips, check their wiring"
	if err == nil || err.Error() != wants || len(p.asked) != 3 || len(found) != 0 {
		t.Errorf("%d addresses asked, %v, %v", len(p.asked), found, err)
	}
}

func TestScanGoesOnBehindOneAddressThatFails(t *testing.T) {
	p := &prober{answer: func(address uint16) error {
		switch address {
		case 0x20:
			return syscall.EIO
		case 0x48:
			return nil
		}
		return syscall.ENXIO
	}}
	found, err := i2c.Scan(t.Context(), p, 1)
	if err != nil || len(p.asked) != 0x78-0x08 {
		t.Errorf("%d addresses asked, %v", len(p.asked), err)
	}
	want(t, lines(found), "address 0x20 on I2C bus 1: input/output error: the transfer was broken off...", "0x48  tmp102...")
}

func TestScanOfAControllerThatCannotAskSaysSoAtOnce(t *testing.T) {
	p := &prober{answer: func(uint16) error { return syscall.EOPNOTSUPP }}
	found, err := i2c.Scan(t.Context(), p, 1)
	if !errors.Is(err, syscall.EOPNOTSUPP) || len(p.asked) != 1 || len(found) != 0 {
		t.Errorf("%v, %d asked, %v", found, len(p.asked), err)
	}
}

func TestScanNamesOnlyKindsThatThereAre(t *testing.T) {
	bus := new(i2ctest.Bus)
	for address := uint16(0x08); address <= 0x77; address++ {
		bus.Attach(address, i2ctest.Words{})
	}
	found, err := i2c.Scan(t.Context(), bus.Wire(), 1)
	if err != nil || len(found) != 0x78-0x08 {
		t.Fatalf("%d found, %v", len(found), err)
	}
	for _, kind := range all.Kinds() {
		uses, err := kind.Uses(with(""))
		if err != nil || len(uses) == 0 || uses[0].Key != "address" {
			continue // not on this bus, or without an address of its own
		}
		var address uint16
		if _, err := fmt.Sscanf(uses[0].What, "address 0x%x", &address); err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(found, func(f i2c.Found) bool { return f.Address == address })
		if !slices.ContainsFunc(found[i].Likely, func(name string) bool {
			return name == kind.Name || len(name) > len(kind.Name) && name[:len(kind.Name)+1] == kind.Name+" "
		}) {
			t.Errorf("%#02x is %s by default, and may be %q", address, kind.Name, found[i].Likely)
		}
	}
}
