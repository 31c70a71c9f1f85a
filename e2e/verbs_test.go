package e2e_test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// runVerb runs the gateway with a verb, checks its exit code and returns all it printed.
func runVerb(t *testing.T, want int, args ...string) string {
	t.Helper()
	out, err := exec.Command(binary, args...).CombinedOutput()
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if code != want {
		t.Errorf("gateway %s: exit code %d, want %d:\n%s", strings.Join(args, " "), code, want, out)
	}
	return string(out)
}

// A wrong key is told with its place and the nearest key, also inside the
// options of a device, and all of them in one run.
func TestAWrongKeyIsToldWithItsPlace(t *testing.T) {
	config := write(t, t.TempDir(), "gateway.toml", `id = "e2e"
[broker]
max_conections = 10

[[devices]]
name = "weather"
kind = "serial-line"
[devices.options]
path = "/dev/ttyUSB0"
boud = 9600
`)
	out := runVerb(t, 1, "check", "--offline", "-config", config)
	for _, want := range []string{
		config + ":3:1: ", `"max_connections"`,
		config + ":10:1: ", `"baud"`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
}
