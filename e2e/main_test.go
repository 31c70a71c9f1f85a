// Package e2e_test runs the real binary against real peers: a Mosquitto as the
// cloud, ptys as serial ports, kill -9 as the power cut.
package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the gateway under test, built once for all tests.
var binary string

var seed = flag.Uint64("seed", 0, "seed of the random runs; 0 picks one, every run prints its own")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gateway-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if binary = *gatewayFlag; binary != "" {
		return m.Run()
	}
	binary = filepath.Join(dir, "gateway")
	build := exec.Command("go", "build", "-o", binary, "edgegateway/cmd/gateway")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the gateway: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
