package cloud

import (
	"context"
	"net"
	"time"
)

// abide ends reads and writes on the connection when ctx ends. After release they
// wait as long as they like again; it returns the error of ctx if that came first,
// and the connection is of no use then.
func abide(ctx context.Context, conn net.Conn) (release func() error) {
	past := time.Unix(1, 0)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) }) // a closed connection waits for nothing
	return func() error {
		if !stop() {
			return context.Cause(ctx)
		}
		return nil
	}
}
