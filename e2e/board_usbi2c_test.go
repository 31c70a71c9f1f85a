package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A usbI2C is a USB adapter for I2C, the MCP2221A of Microchip, that is plugged into
// the kernel's dummy_hcd: the kernel's drivers/hid/hid-mcp2221.c takes it for a real
// one. What it asks comes to us as HID reports (Documentation/usb/gadget_hid.rst).
type usbI2C struct {
	t    *testing.T
	hid  *os.File
	done chan struct{} // closed: nobody answers any more

	mu    sync.Mutex
	chips map[uint16]*wireChip
}

// A wireChip is a TMP102: the temperature is the word in its register 0.
type wireChip struct {
	registers [4]uint16
	pointer   byte
	delay     time.Duration // before it answers, as by holding SCL low
	mute      bool          // it holds SCL low for ever
	deaf      bool          // it acknowledges only every second transfer
	transfers int
}

// Commands and answers of the adapter, as the driver has them.
const (
	mcpStatus = 0x10
	mcpData   = 0x40
	mcpWrite  = 0x90
	mcpRead   = 0x91
	mcpReadOn = 0x93 // behind a repeated start
	mcpBegin  = 0x94 // a write without a stop

	mcpNACK = 0x25
	mcpDone = 0x55
)

const gadget = "/sys/kernel/config/usb_gadget/mcp2221"

// plugI2C plugs the adapter in, and returns it with the number of its bus. That takes
// 24 s: the driver of Linux 6.1 asks six times what it can not hear the answer to yet.
func plugI2C(t *testing.T, chips map[uint16]*wireChip) (*usbI2C, int) {
	t.Helper()
	sh(t, `set -e; mkdir -p `+gadget+`; cd `+gadget+`
		echo 0x04d8 >idVendor; echo 0x00dd >idProduct
		mkdir -p configs/c.1 functions/hid.usb0
		echo 64 >functions/hid.usb0/report_length
		printf '\006\000\377\011\001\241\001\025\000\046\377\000\165\010\225\100\011\001\201\002\011\001\221\002\300' >functions/hid.usb0/report_desc
		ln -s functions/hid.usb0 configs/c.1/
		ls /sys/class/udc | head -n 1 >UDC`)
	a := &usbI2C{t: t, done: make(chan struct{}), chips: chips}
	t.Cleanup(a.unplug)
	eventually(t, "plugged in", func() (done bool) {
		var err error
		a.hid, err = os.OpenFile("/dev/hidg0", os.O_RDWR, 0)
		return err == nil
	})
	go a.serve()
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		// The last that the driver makes is a chip for the adapter's GPIO.
		labels, _ := filepath.Glob("/sys/class/gpio/gpiochip*/label")
		for _, l := range labels {
			if text, _ := os.ReadFile(l); string(text) == "mcp2221_gpio\n" {
				return a, a.bus()
			}
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("the driver has not taken the adapter after a minute; it has made %q", labels)
		}
	}
}

// bus is the number that the kernel gave.
func (a *usbI2C) bus() (number int) {
	a.t.Helper()
	names, _ := filepath.Glob("/sys/bus/i2c/devices/i2c-*/name")
	for _, n := range names {
		if strings.HasPrefix(get(a.t, n), "MCP2221") {
			fmt.Sscanf(filepath.Base(filepath.Dir(n)), "i2c-%d", &number)
			return number
		}
	}
	a.t.Fatalf("there is no bus of an MCP2221: %q", names)
	return 0
}

// unplug pulls the adapter out; once.
func (a *usbI2C) unplug() {
	if a.chips == nil {
		return
	}
	a.chips = nil
	sh(a.t, "echo >"+gadget+"/UDC")
	if a.hid != nil {
		a.hid.Close()
		<-a.done
	}
	sh(a.t, "cd "+gadget+" && rm configs/c.1/hid.usb0 && rmdir configs/c.1 functions/hid.usb0 && cd .. && rmdir "+gadget)
}

// change changes a chip.
func (a *usbI2C) change(address uint16, f func(*wireChip)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(a.chips[address])
}

// serve answers reports until the adapter is pulled out.
func (a *usbI2C) serve() {
	defer close(a.done)
	chips := a.chips
	var c *wireChip // that is spoken with
	length := 0     // of what it shall say
	for {
		var report [64]byte
		if _, err := a.hid.Read(report[:]); err != nil {
			return
		}
		answer := [64]byte{report[0]}
		address, n := uint16(report[3]>>1), int(report[1])
		a.mu.Lock()
		var delay time.Duration
		mute := false
		switch report[0] {
		case mcpStatus:
			answer[3] = report[3] // the speed is fine
		case mcpWrite, mcpBegin, mcpRead:
			c = chips[address]
			if c != nil {
				c.transfers++
			}
			if c == nil || c.deaf && c.transfers%2 == 1 {
				answer[1], answer[2] = 1, mcpNACK
				break
			}
			delay, mute = c.delay, c.mute
			if length = n; report[0] == mcpRead || n == 0 {
				break
			}
			c.pointer = report[4] & 3
			if n == 3 {
				c.registers[c.pointer] = uint16(report[5])<<8 | uint16(report[6])
			}
		case mcpReadOn:
			length = n
		case mcpData:
			answer[2], answer[3] = mcpDone, byte(length)
			for i := range length {
				answer[4+i] = byte(c.registers[c.pointer] >> (8 - 8*(i&1)))
			}
		}
		a.mu.Unlock()
		time.Sleep(delay) // this is the hardware
		if mute {
			continue
		}
		if _, err := a.hid.Write(answer[:]); err != nil {
			return
		}
	}
}

// thermometer is a chip that says a temperature in sixteenths of a degree.
func thermometer(sixteenths int) *wireChip {
	return &wireChip{registers: [4]uint16{uint16(sixteenths << 4), 0x60a0, 0x4b00, 0x5000}}
}

func thermometers(bus int, addresses ...int) (text string) {
	for _, address := range addresses {
		text += fmt.Sprintf(`
[[devices]]
name = "at%x"
kind = "tmp102"
every = "200ms"
[devices.options]
bus = %d
address = %#x
`, address, bus, address)
	}
	return text
}

func chipsThatAreDifficult(t *testing.T) {
	a, bus := plugI2C(t, map[uint16]*wireChip{0x48: thermometer(344), 0x49: thermometer(320)})
	b := on(t, thermometers(bus, 0x48, 0x49)+`
[[devices]]
name = "machine"
kind = "host"
every = "100ms"
`)
	show := func(address uint16, degrees int, how func(*wireChip)) {
		a.change(address, func(c *wireChip) {
			c.registers[0] = uint16(degrees) << 8
			how(c)
		})
		b.until(fmt.Sprintf("at%x", address), "state", fmt.Sprintf(`"temperature":%d,`, degrees))
	}
	b.until("at49", "state", `"temperature":20,`)

	// A loose wire: all its readings come, and one line in the log.
	for degrees := 30; degrees < 50; degrees++ {
		show(0x48, degrees, func(c *wireChip) { c.deaf = true })
	}
	show(0x48, 50, func(c *wireChip) { c.deaf = false })
	log := b.out.String()
	if n := strings.Count(log, "level=WARN") - strings.Count(log, "the clock"); strings.Contains(log, "offline") || n != 1 {
		t.Errorf("%d lines about the chip that does not hear well, want 1 and nobody offline:\n%s", n, log)
	}

	// One that takes 700 ms for each transfer: its neighbour on the bus waits for it,
	// and nobody else does.
	show(0x49, 26, func(c *wireChip) { c.delay = 700 * time.Millisecond })
	counts, end := map[string]int{}, time.After(5*time.Second)
	for end != nil {
		select {
		case m := <-b.heard:
			topic, _, _ := strings.Cut(m, " ")
			counts[topic]++
		case <-end:
			end = nil
		}
	}
	if counts["e2e/at49/state"] < 2 || counts["e2e/at48/state"] < 2 || counts["e2e/machine/state"] < 20 {
		t.Errorf("in 5 s came %v", counts)
	}

	// One that never lets go, so that each transfer ends with an error after 4 s.
	a.change(0x49, func(c *wireChip) { c.delay, c.mute = 0, true })
	b.until("at49", "availability", "offline")
	show(0x49, 27, func(c *wireChip) { c.mute = false })
	show(0x48, 28, func(*wireChip) {})

	a.unplug()
	gone := map[string]bool{}
	await(t, "both offline", b.heard, func(topic, payload string) bool {
		gone[topic] = payload == "offline"
		return gone["e2e/at48/availability"] && gone["e2e/at49/availability"]
	})
	eventually(t, "given back to the kernel", func() bool {
		_, err := os.Stat(fmt.Sprintf("/sys/bus/i2c/devices/i2c-%d", bus))
		return err != nil
	})
	b.stop()
}
