package strict_test

import (
	"fmt"
	"strings"
	"testing"

	"edgegateway/config/strict"
)

func TestKeysListWhatIsKnownWithDefaults(t *testing.T) {
	var b strings.Builder
	for _, k := range strict.Keys(defaults(), elements...) {
		fmt.Fprintf(&b, "%s %s %s\n", k.Path, k.Type, k.Default)
	}
	want := `text string "default"
flag bool false
small integer 0
port integer 1883
big integer 0
ratio number 0
wait duration "0s"
expiry duration "0s"
room size "0B"
level string 
words list of strings ["a"]
waits list of durations []
scales table of numbers 
any any value 
mode string 
group.max_connections integer 1000
group.listeners[].address string ""
group.listeners[].open bool 
group.listeners[].tls.cert string ""
group.listeners[].tls.client_ca string ""
group.listeners[].up[].from string ""
group.listeners[].up[].qos integer 1
devices[].name string ""
devices[].every duration "10s"
devices[].options table 
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
