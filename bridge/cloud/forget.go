package cloud

import (
	"fmt"

	"edgegateway/broker"
	"edgegateway/buffer"
)

// QueueName is the queue of the cloud of this name.
func QueueName(name string) string { return "local/" + localPrefix + name }

// Forget has all that is kept for a cloud go with a Change: its queue, and what is
// known of its session. No bridge may be running for it. One that is configured under
// its name later begins a new session, in which the old handshakes mean nothing.
func Forget(c *buffer.Change, st *buffer.Store, name string) error {
	t := st.Table(localPrefix + name)
	err := t.Each(func(key, _ []byte) error {
		c.Delete(t, key, buffer.Sync)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the state of the session of cloud %q: %w", name, err)
	}
	return broker.ForgetSession(c, st, localPrefix+name)
}
