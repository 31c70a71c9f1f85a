package status_test

import (
	"fmt"
	"strings"
	"testing"

	"edgegateway/status"
)

func TestAddressBeyondLoopbackIsRefused(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:8080": "", "localhost:0": "", "[::1]:80": "", "127.8.8.8:1": "", "": "",
		"0.0.0.0:8080":     "without a password",
		":8080":            "without a password",
		"[::]:8080":        "without a password",
		"192.168.1.5:8080": "without a password",
		"gateway.lan:80":   "without a password",
		"127.0.0.1":        "must be host:port",
		"127.0.0.1:http":   "needs a port",
		"127.0.0.1:65536":  "needs a port",
	} {
		err := status.Config{Address: address}.Validate()
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "address ")) {
			t.Errorf("address %q: %v, want %q", address, err, want)
		}
	}
	if err := (status.Config{Address: "127.0.0.1:1", PasswordFile: "x"}).Validate(); err == nil || !strings.HasPrefix(err.Error(), "password_file ") {
		t.Errorf("password_file: %v", err)
	}
}

func TestAllMistakesAreSaidInOneRun(t *testing.T) {
	err := status.Config{Address: "0.0.0.0:8080", PasswordFile: "x"}.Validate()
	if text := fmt.Sprint(err); !strings.Contains(text, "address ") || !strings.Contains(text, "password_file ") {
		t.Errorf("%v", err)
	}
}
