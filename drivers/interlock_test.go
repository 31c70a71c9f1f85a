package drivers_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
)

func TestAnInterlockIsHeldByOneAndRestsBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pause = 500 * time.Millisecond
		var l drivers.Interlocks
		claim := func(group, who, want string) {
			t.Helper()
			if got := fmt.Sprint(l.Claim(group, who, pause)); got != want {
				t.Errorf("%s claims %s after %v: %s, want %s", who, group, pause, got, want)
			}
		}
		claim("shutter", "up", "<nil>")
		claim("shutter", "up", "<nil>")
		claim("shutter", "down", `up has the interlock "shutter", which lets one output be on at a time; switch that one off first`)
		claim("gate", "down", "<nil>")
		l.Release("shutter", "up")
		claim("shutter", "down", `up went off less than 500ms ago, and the interlock "shutter" wants that pause; send the command again in 500ms`)
		claim("shutter", "up", "<nil>") // the same direction may go on
		l.Release("shutter", "up")
		time.Sleep(pause - time.Millisecond)
		claim("shutter", "down", `up went off less than 500ms ago, and the interlock "shutter" wants that pause; send the command again in 1ms`)
		time.Sleep(time.Millisecond)
		claim("shutter", "down", "<nil>")
		l.Release("shutter", "up") // says of itself alone that it is off
		claim("shutter", "up", `down has the interlock "shutter", which lets one output be on at a time; switch that one off first`)
	})
}
