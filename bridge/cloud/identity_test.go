package cloud_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"edgegateway/bridge/cloud"
)

func TestClientIDStaysTheSame(t *testing.T) {
	s := newServer(t)
	cfg := testConfig(s.url())
	cfg.ClientID = ""
	r := newRig(t, cfg, nil)
	r.run()
	p, first := s.accept()
	if !regexp.MustCompile(`^g-[0-9a-f]{6}$`).MatchString(first.ClientID) {
		t.Errorf("client id %q, want the gateway's id and six hex digits", first.ClientID)
	}
	p.connack(false)
	p.status("online")
	p.cut()
	r.close()
	r.open()
	r.run()
	if _, again := s.accept(); again.ClientID != first.ClientID {
		t.Errorf("client id %q after %q", again.ClientID, first.ClientID)
	}
	info, err := os.Stat(filepath.Join(r.dir, "gateway-id"))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode(); mode != 0o600 { // who knows it can take the session over where a server asks for no password
		t.Errorf("gateway-id has mode %v", mode)
	}
}

func TestPasswordIsReadAtEveryConnect(t *testing.T) {
	s := newServer(t)
	cfg := testConfig(s.url())
	cfg.Username, cfg.PasswordFile = "gw", filepath.Join(t.TempDir(), "pw")
	r := newRig(t, cfg, nil)
	r.run()
	r.until("the missing file is named", func(st cloud.Status) bool { return strings.Contains(st.LastError, "password_file") })
	for _, c := range []struct{ file, want string }{{"secret\n", "secret"}, {"renewed", "renewed"}} {
		if err := os.WriteFile(cfg.PasswordFile+"~", []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(cfg.PasswordFile+"~", cfg.PasswordFile); err != nil {
			t.Fatal(err)
		}
		for { // attempts with the earlier file are on their way
			p, connect := s.accept()
			p.cut()
			if connect.Username == "gw" && string(connect.Password) == c.want {
				break
			}
			if strings.HasSuffix(string(connect.Password), "\n") {
				t.Fatalf("password %q, want %q", connect.Password, c.want)
			}
		}
	}
}
