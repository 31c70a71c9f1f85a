package cloud

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// machineID is the random id of this gateway: 32 hex digits in the file
// gateway-id of its data directory, made when it is first asked for. Two
// gateways with the same configured id still have different client identifiers.
func machineID(dataDir string) (string, error) {
	path := filepath.Join(dataDir, "gateway-id")
	if id, err := readID(path); !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	if err := writeID(path, hex.EncodeToString(b[:])); err != nil {
		return "", fmt.Errorf("keep the gateway's random id: %w", err)
	}
	return readID(path)
}

func readID(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(b))
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != 16 {
		return "", fmt.Errorf("read %s: want 32 hex digits (remove the file to get a new id; servers will then see a new client)", path)
	}
	return id, nil
}

// writeID makes the file complete or not at all.
func writeID(path, id string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".gateway-id-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // a no-op once it is renamed
	_, err = tmp.WriteString(id + "\n")
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
