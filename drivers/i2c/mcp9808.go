package i2c

import (
	"context"
	_ "embed"
	"time"

	"edgegateway/drivers"
)

//go:embed examples/mcp9808.toml
var mcp9808Example string

// MCP9808Options are the keys of the kind mcp9808.
type MCP9808Options struct{ Place }

// Validate checks what can be checked without the chip.
func (o MCP9808Options) Validate() error { return o.oneOf("MCP9808", 0x18, 0x1f) }

// MCP9808Kind returns the kind mcp9808.
func MCP9808Kind() drivers.Kind {
	return drivers.KindOf("mcp9808", "Temperature by an MCP9808 on an I2C bus.", mcp9808Example,
		func() MCP9808Options { return MCP9808Options{at(0x18)} }, openMCP9808)
}

// openMCP9808: datasheet DS25095A, registers in section 5.1. The chip measures by
// itself, four times per second: 250 ms for a conversion (section 5.2.4).
func openMCP9808(ctx context.Context, o MCP9808Options, ports drivers.Ports) (drivers.Device, error) {
	const config, ambient, shutdown, conversion = 1, 5, 0x0100, 300 * time.Millisecond
	return attach(ctx, "MCP9808", o.Place, ports, func(ctx context.Context, c *link) (*sensor, error) {
		if err := identifyMCP9808(ctx, c); err != nil {
			return nil, err
		}
		settings, err := c.word(ctx, config)
		if err == nil && settings&shutdown != 0 {
			if err = c.setWord(ctx, config, settings&^shutdown); err == nil {
				err = c.pause(ctx, conversion) // what the register holds is old
			}
		}
		if err != nil {
			return nil, err
		}
		return &sensor{
			channels: []drivers.Channel{temperature()},
			measure: func(ctx context.Context) ([]any, error) {
				w, err := c.word(ctx, ambient)
				if err == nil && (w == 0 || w == 0xffff) { // just that, or a line that does not move
					err = identifyMCP9808(ctx, c)
				}
				// The three highest bits are alarms, the rest is 13 bits of 1/16 °C:
				// register 5-4. They are 0 until the first conversion, too.
				if err == nil && w<<3 == 0 {
					if err = c.pause(ctx, conversion); err == nil {
						w, err = c.word(ctx, ambient)
					}
				}
				if err != nil {
					return nil, err
				}
				return c.celsius(float64(int16(w<<3)>>3)/16, -40, 125)
			},
		}, nil
	})
}

// identifyMCP9808 makes sure that the chip is one: registers 5-5 and 5-6.
func identifyMCP9808(ctx context.Context, c *link) error {
	const maker, id = 6, 7
	m, err := c.word(ctx, maker)
	if err != nil {
		return err
	}
	i, err := c.word(ctx, id)
	if err == nil && (m != 0x0054 || i>>8 != 0x04) {
		err = c.stranger("it gives maker %#04x and identification %#04x", m, i)
	}
	return err
}
