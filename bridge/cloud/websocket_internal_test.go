package cloud

import (
	"testing"
)

// One write, which is one TLS record, of what is written in pieces.
func TestCorkedPiecesLeaveTogether(t *testing.T) {
	c := &countingConn{}
	w := corked{Conn: c}
	w.Write([]byte("before"))
	w.cork()
	w.Write([]byte("head"))
	w.Write([]byte("body"))
	if err := w.release(); err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("after"))
	if len(c.writes) != 3 || c.writes[1] != "headbody" || c.writes[2] != "after" {
		t.Errorf("writes = %q", c.writes)
	}
}
