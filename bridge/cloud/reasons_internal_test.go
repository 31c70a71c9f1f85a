package cloud

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"edgegateway/broker/packet"
)

// Every reason code of the standard (table 2.6) has a sentence and a manner, and a
// code that the standard does not have is the server's fault.
func TestEveryReasonCodeHasAVerdict(t *testing.T) {
	all := []packet.ReasonCode{0x00, 0x01, 0x02, 0x04, 0x10, 0x11, 0x18, 0x19}
	for c := packet.ReasonCode(0x80); c <= 0xA2; c++ {
		all = append(all, c)
	}
	for _, c := range all {
		v, ok := reasons[c]
		if !ok || v.say == "" || v.manner >= manners {
			t.Errorf("%v (0x%02X) has no verdict: %+v", c, byte(c), v)
		}
	}
	if len(reasons) != len(all) {
		t.Errorf("%d verdicts for %d codes", len(reasons), len(all))
	}
	if v := judge(refusal{code: 0xB0}); v.manner != slowly || !strings.Contains(v.say, "the server is at fault") {
		t.Errorf("an unknown code: %+v", v)
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want manner
	}{
		{"the network", errors.New("no route to host"), soon},
		{"unavailable", refusal{code: packet.ServerUnavailable}, soon},
		{"busy", refusal{code: packet.ServerBusy}, slowly},
		{"password", refusal{code: packet.BadUserNameOrPassword}, rarely},
		{"banned", refusal{code: packet.Banned}, rarely},
		{"another version", refusal{code: packet.UnsupportedProtocolVersion}, rarely},
		{"an old server", fmt.Errorf("connect: %w", errOldServer), rarely},
		{"taken over", disconnected{code: packet.SessionTakenOver}, slowly},
		{"not authorized after it was let in", disconnected{code: packet.NotAuthorized}, slowly},
		{"shutting down", disconnected{code: packet.ServerShuttingDown}, soon},
		{"a certificate", fmt.Errorf("dial: %w", distrust{errors.New("x")}), slowly},
	} {
		if v := judge(c.err); v.manner != c.want {
			t.Errorf("%s: manner %d, want %d", c.name, v.manner, c.want)
		}
	}
}

func TestServerReferenceIsReadAsTheStandardSays(t *testing.T) {
	for _, c := range []struct{ from, list, want string }{
		{"mqtt://a:1884", "b", "mqtt://b:1884"},
		{"mqtt://a", "b:99", "mqtt://b:99"},
		{"mqtt://a", "[::1]", "mqtt://[::1]:1883"},
		{"mqtts://a:443", "10.1.1.1", "mqtts://10.1.1.1:443"},
		{"wss://a/mqtt?x=1", "b:8443", "wss://b:8443/mqtt"},
		{"mqtt://a", "mqtts://b", "mqtts://b"}, // safer is allowed
		{"mqtts://a", "mqtt://b wss://c/mqtt", "wss://c/mqtt"},
		{"mqtts://a", "mqtt://b", ""},
		{"wss://a/", "ws://b/", ""},
		{"mqtt://a", "b:0 c:x", ""},
		{"mqtt://a", "", ""},
		{"mqtt://a", "mqtt://u:p@b", ""},
	} {
		s, err := parseServer(c.from)
		if err != nil {
			t.Fatal(err)
		}
		to, err := s.referred(c.list)
		if to.url != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s sends to %q: %s, %v; want %s", c.from, c.list, to.url, err, c.want)
		}
	}
}
