package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgegateway/status"
)

// The socket of the service lies beside its data directory, not in it.
func TestCheckKnowsTheServiceThatRunsOnTheDataDirectory(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	mine, others := t.TempDir(), t.TempDir()
	for _, c := range []struct {
		name, runsOn, want string
	}{
		{"it is the service", mine, "runs on this data_dir, up 7 s"},
		{"it is another gateway", others, "another program has this port"},
	} {
		t.Run(c.name, func(t *testing.T) {
			runtime := t.TempDir()
			ln, err := net.Listen("unix", filepath.Join(runtime, "control.sock"))
			if err != nil {
				t.Fatal(err)
			}
			answer := status.Report{
				Gateway: status.Gateway{Uptime: 7, Listens: []status.Listening{{What: "mqtt", Address: "tcp://" + busy.Addr().String()}}},
				Store:   status.Store{Path: filepath.Join(c.runsOn, "gateway.db")},
			}
			server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(answer) })}
			go server.Serve(ln)
			defer server.Close()

			config := filepath.Join(t.TempDir(), "gateway.toml")
			text := fmt.Sprintf("data_dir = %q\n[[broker.listeners]]\naddress = %q\n[status]\naddress = \"\"\n", mine, "tcp://"+busy.Addr().String())
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			err = check(context.Background(), &process{stdout: &out, getenv: func(key string) string {
				if key == "RUNTIME_DIRECTORY" {
					return runtime
				}
				return ""
			}}, config, true)
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("no %q in (%v):\n%s", c.want, err, &out)
			}
		})
	}
}

func TestTheSocketOfTheServiceIsTriedLast(t *testing.T) {
	none := func(string) string { return "" }
	if got, want := controlPaths(none, "/data"), []string{"/data/control.sock", "/run/gateway/control.sock"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAnOpenAddressIsKnownUnderItsOtherName(t *testing.T) {
	for _, c := range []struct {
		open, wanted string
		same         bool
	}{
		{"[::]:1883", "0.0.0.0:1883", true},
		{"[::]:1883", ":1883", true},
		{"127.0.0.1:1883", "localhost:1883", true},
		{"127.0.0.1:18831", "127.0.0.1:1883", false},
		{"[::]:1883", "127.0.0.1:1883", false},
		{"/run/gateway/mqtt.sock", "127.0.0.1:1883", false},
	} {
		if got := sameAddress(c.open, c.wanted); got != c.same {
			t.Errorf("sameAddress(%q, %q) = %v", c.open, c.wanted, got)
		}
	}
}

func TestThePlaceOfAnAddressHasNoPath(t *testing.T) {
	for address, want := range map[string]string{
		"tcp://127.0.0.1:1883":       "127.0.0.1:1883",
		"ws://127.0.0.1:9001/mqtt":   "127.0.0.1:9001",
		"http://[::1]:8080/":         "[::1]:8080",
		"unix:///run/gateway/m.sock": "/run/gateway/m.sock",
	} {
		if got := placeOf(address); got != want {
			t.Errorf("placeOf(%q) = %q, want %q", address, got, want)
		}
	}
}
