package all

import (
	"context"
	"fmt"

	"edgegateway/drivers/i2c"
)

// A Look is what was found on one bus.
type Look struct {
	Where string // "/dev/i2c-1"
	Found []string
	Err   error // why the look ended early
}

// Scan looks at the buses of this machine on which one can ask who is there: I2C.
func Scan(ctx context.Context) (looks []Look) {
	numbers := i2c.Numbers("")
	if len(numbers) == 0 {
		numbers = []int{1} // its error says how to switch it on
	}
	for _, n := range numbers {
		look := Look{Where: fmt.Sprintf("/dev/i2c-%d", n)}
		wire, err := i2c.System(n)
		if err == nil {
			var found []i2c.Found
			found, err = i2c.Scan(ctx, wire, n)
			for _, f := range found {
				look.Found = append(look.Found, f.String())
			}
			wire.Close() // nothing was written that could be lost
		}
		look.Err = err
		looks = append(looks, look)
	}
	return looks
}
