package broker_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// TestARestoredBackupCallsEverySessionNewOnce: client and backup differ in what they
// remember of handshakes, so both begin anew; nothing of the backup is lost by that.
func TestARestoredBackupCallsEverySessionNewOnce(t *testing.T) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		t.Run(v.String(), func(t *testing.T) {
			dir := t.TempDir()
			h := open(t, dir, config())
			b := connect(t, h, v, "b", false)
			subscribe(t, b, "t/#", 2)
			a := connect(t, h, v, "a", false)
			m := message("t/x", "in the backup", 2)
			m.ID = 5
			a.Send(m).Expect(ack(packet.PUBREC, 5)) // PUBREL comes after the backup
			b.Expect(message("t/x", "in the backup", 2))
			sent := b.IDs()[0]
			b.Send(ack(packet.PUBREC, sent)).Expect(ack(packet.PUBREL, sent)) // PUBCOMP as well

			path := filepath.Join(dir, "gateway.db")
			from := filepath.Join(t.TempDir(), "backup")
			f, err := os.Create(from)
			if err != nil {
				t.Fatal(err)
			}
			_, err = h.store.Backup(t.Context(), f)
			if err := errors.Join(err, f.Close(), buffer.ForgetRun(from)); err != nil {
				t.Fatal(err)
			}
			a.Send(ack(packet.PUBREL, 5)).Expect(ack(packet.PUBCOMP, 5))
			b.Send(ack(packet.PUBCOMP, sent))
			h.stop()
			if _, err := buffer.Restore(path, from); err != nil {
				t.Fatal(err)
			}

			h = open(t, dir, config())
			join := func(id string, want bool) *brokertest.Client {
				c, ack := brokertest.Connect(t, h.addr, v, &packet.Connect{ClientID: id, SessionExpiry: 3600})
				if ack.SessionPresent != want {
					t.Fatalf("session present for %s: %v, want %v", id, ack.SessionPresent, want)
				}
				return c
			}
			a = join("a", false)
			m = message("t/x", "a new message with the identifier of an old one", 2)
			m.ID = 5
			a.Send(m).Expect(ack(packet.PUBREC, 5)).Send(ack(packet.PUBREL, 5)).Expect(ack(packet.PUBCOMP, 5))
			b = join("b", false)
			// As new: with neither DUP nor PUBREL for what the backup calls received.
			for _, payload := range []string{"in the backup", "a new message with the identifier of an old one"} {
				b.Expect(message("t/x", payload, 2))
				id := b.IDs()[0]
				b.Send(ack(packet.PUBREC, id)).Expect(ack(packet.PUBREL, id)).Send(ack(packet.PUBCOMP, id))
			}
			a.Send(message("t/y", "the subscription stayed", 0))
			b.Expect(message("t/y", "the subscription stayed", 0))
			b.Leave()
			join("b", true).ExpectNothing()

			// Those that were not here yet are still told, after another restart.
			h.stop()
			h = open(t, dir, config())
			join("b", true)
			join("a", true)
		})
	}
}

func TestARestoredBackupTellsAClientThatComesLateAfterAnotherRestart(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, config())
	connect(t, h, packet.V5, "late", false).Leave()
	h.stop()
	path := filepath.Join(dir, "gateway.db")
	if err := os.Remove(path + ".state"); err != nil { // a file that came alone, by hand
		t.Fatal(err)
	}
	for range 2 {
		h = open(t, dir, config())
		h.stop()
	}
	h = open(t, dir, config())
	for _, want := range []bool{false, true} {
		_, ack := brokertest.Connect(t, h.addr, packet.V5, &packet.Connect{ClientID: "late", SessionExpiry: 3600})
		if ack.SessionPresent != want {
			t.Errorf("session present: %v, want %v", ack.SessionPresent, want)
		}
	}
}
