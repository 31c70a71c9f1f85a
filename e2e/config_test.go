package e2e_test

import (
	"fmt"
	"testing"
)

// gatewayConfig is a gateway with one listener, a bridge to the cloud at
// cloudAddr, and whatever more a test wants.
func gatewayConfig(t *testing.T, addr, cloudAddr, more string) string {
	t.Helper()
	return pagedConfig(t, addr, cloudAddr, "", more)
}

// pagedConfig is the same with a status page.
func pagedConfig(t *testing.T, addr, cloudAddr, page, more string) string {
	t.Helper()
	dir := t.TempDir()
	return write(t, dir, "gateway.toml", fmt.Sprintf(`
id = "e2e"
data_dir = "%s/data"

[broker]
max_queued_messages = 1000000
max_queued_bytes = "256MiB"
[[broker.listeners]]
address = "tcp://%s"

[[cloud]]
name = "acme"
servers = ["mqtt://%s"]
up = [
  { from = "load/#", to = "acme/load/#", qos = 2 },
  { from = "e2e/+/state", to = "acme/e2e/+/state", qos = 1 },
  { from = "e2e/+/result", to = "acme/e2e/+/result", qos = 1 },
]
down = [
  { from = "acme/e2e/+/set", to = "e2e/+/set", qos = 1 },
  { from = "acme/once/#", to = "once/#", qos = 1 },
  { from = "acme/exactly/#", to = "exactly/#", qos = 2 },
]

[status]
address = "%s"
%s`, dir, addr, cloudAddr, page, more))
}
