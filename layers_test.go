// Package edgegateway_test holds the tests of the house as a whole.
package edgegateway_test

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "edgegateway/"

// layers says which of our packages each package may import directly, tests
// excepted. A package with nothing on its right is a leaf; "*" may import all;
// "x/..." are the packages in folders of x that have no line of their own. A
// package that is not here fails: a new room is first drawn in.
var layers = map[string]string{
	// floor 0: leaves, they know nothing of each other
	"broker/packet":   "",
	"broker/topic":    "",
	"buffer":          "",
	"buffer/powercut": "", // for tests
	"drivers":         "",
	"config/strict":   "",
	"internal/need":   "", // for tests
	// floor 1
	"broker":             "broker/packet broker/topic buffer",
	"broker/brokertest":  "broker broker/packet broker/topic buffer internal/need",
	"bench":              "broker/packet", // a client of any broker
	"drivers/gpio":       "drivers",
	"drivers/gpio/...":   "drivers drivers/gpio",
	"drivers/i2c":        "drivers",
	"drivers/i2c/...":    "drivers drivers/i2c",
	"drivers/serial":     "drivers",
	"drivers/serial/...": "drivers drivers/serial internal/need",
	"drivers/modbus":     "drivers drivers/serial",
	"drivers/modbus/...": "drivers drivers/modbus",
	"drivers/host":       "drivers",
	"drivers/onewire":    "drivers",
	"drivers/iio":        "drivers",
	"drivers/sim":        "drivers",
	"drivers/all":        "drivers drivers/gpio drivers/i2c drivers/serial drivers/modbus drivers/host drivers/onewire drivers/iio drivers/sim",
	// floor 2: two bridges that never meet
	"bridge/cloud":         "broker broker/packet broker/topic buffer",
	"bridge/field":         "bridge/homeassistant broker broker/packet drivers",
	"bridge/homeassistant": "drivers", // the format, no more
	// floor 3
	"config": "config/strict broker bridge/cloud bridge/field bridge/homeassistant buffer drivers status",
	"status": "broker bridge/cloud bridge/field buffer drivers",
	// floor 4
	"cmd/gateway": "*",
	"e2e":         "*", // tests only: the real gateway against real brokers
	".":           "",  // this test
}

// rooms says where a library may be imported: there and below. Several are
// separated by spaces.
var rooms = map[string]string{
	"github.com/eclipse/paho.golang": "bridge/cloud",
	"github.com/coder/websocket":     "broker bridge/cloud",
	"go.etcd.io/bbolt":               "buffer",
	"periph.io/x":                    "drivers",
	"github.com/tarm/serial":         "drivers/serial",
	"golang.org/x/crypto":            "broker",
}

// TestLayers holds the direct imports of every package against the two tables.
func TestLayers(t *testing.T) {
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	cmd.Env = append(cmd.Environ(), "GOOS=linux") // the target; other systems hide _linux.go files
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	checked := 0
	for line := range strings.Lines(string(out)) {
		imports := strings.Fields(line)
		pkg := room(imports[0])
		allowed, known := layers[pkg]
		if !known {
			allowed, known = layers[path.Dir(pkg)+"/..."]
		}
		if !known {
			t.Errorf("%s is not in the table of layers; say there what it may import", pkg)
			continue
		}
		for _, imp := range imports[1:] {
			checked++
			if !mayImport(pkg, allowed, imp) {
				t.Errorf("%s must not import %s", pkg, strings.TrimPrefix(imp, module))
			}
		}
	}
	if checked == 0 {
		t.Error("go list showed no imports; nothing was checked")
	}
}

func mayImport(pkg, allowed, imp string) bool {
	for library, homes := range rooms {
		if within(imp, library) {
			return slices.ContainsFunc(strings.Fields(homes), func(home string) bool { return within(pkg, home) })
		}
	}
	if !strings.HasPrefix(imp, module) || allowed == "*" {
		return true // not ours and free for all, or all of ours for this one
	}
	for _, a := range strings.Fields(allowed) {
		if room(imp) == a {
			return true
		}
	}
	return false
}

// room is the package's place below the module, "." for its root.
func room(importPath string) string {
	if importPath+"/" == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module)
}

func within(name, root string) bool {
	return name == root || strings.HasPrefix(name, root+"/")
}
