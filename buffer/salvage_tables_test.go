package buffer_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"edgegateway/buffer"
)

// TestATableThatIsNotWholeMakesARestoredStore damages the page of a pair that was
// deleted by the newest commit. The commit before still has the pair, so it comes
// back: to those who note there which handshakes are under way, a message with an
// identifier that came back would look like a repetition.
func TestATableThatIsNotWholeMakesARestoredStore(t *testing.T) {
	path := filepath.Join(inMemory(t), "store.db")
	s := open(t, path, fast())
	table := s.Table("received")
	do(t, s, func(c *buffer.Change) {
		for i := range 500 {
			c.Put(table, fmt.Appendf(nil, "identifier %03d", i), []byte("known"), buffer.Sync)
		}
	})
	do(t, s, func(c *buffer.Change) { c.Delete(table, []byte("identifier 250"), buffer.Sync) })
	content, err := os.ReadFile(crash(t, path))
	if err != nil {
		t.Fatal(err)
	}
	marker, err := os.ReadFile(path + ".state")
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	harmed := false
	for id, kind := range livePages(content) {
		if p := content[id*page : (id+1)*page]; kind == "leaf" && bytes.Contains(p, []byte("identifier 249")) {
			clear(p)
			harmed = true
		}
	}
	if !harmed {
		t.Fatal("the page was not found")
	}
	path = filepath.Join(inMemory(t), "store.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".state", marker, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, fast())
	if _, back, err := s.Table("received").Get([]byte("identifier 250")); !back || err != nil {
		t.Fatalf("the deleted pair did not come back: %v", err)
	}
	if !s.Restored() {
		t.Error("the store goes on as if it knew what its last commit said")
	}
}
