package serial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"edgegateway/drivers"
)

// errSilent ends listening to a device from which nothing good comes any more.
var errSilent = errors.New("silent")

// validateSilence checks the key silence, which every kind has that listens.
func validateSilence(d time.Duration) error {
	if d != 0 && d < time.Second {
		return fmt.Errorf("silence must be at least 1s, or 0s for never, not %v", d)
	}
	return nil
}

// listen hands over what a port brings, or nothing each time that it was silent for a
// while, until ctx ends or the port fails. take tells whether there was something good
// in it; without that for longer than silence, unless that is 0, the error is errSilent.
func listen(ctx context.Context, port drivers.SerialPort, silence time.Duration, take func(data []byte, now time.Time) (good bool)) error {
	buf := make([]byte, 512)
	last := time.Now()
	for ctx.Err() == nil {
		n, err := port.Read(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		now := time.Now()
		if take(buf[:n], now) {
			last = now
		}
		if silence > 0 && now.Sub(last) > silence {
			return errSilent
		}
	}
	return ctx.Err()
}
