package drivers_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"edgegateway/drivers"
)

func TestKernelFilesAreReadWholeAndTrimmed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attribute")
	for _, text := range []string{"", "21500", strings.Repeat("0123456789", 1000)} {
		if err := os.WriteFile(path, []byte(" "+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := drivers.ReadKernelFile(path); err != nil || got != text {
			t.Errorf("read %d characters and %v, want %d", len(got), err, len(text))
		}
	}
	// A file of the kernel says that it has 0 or 4096 bytes, whatever is in it.
	if got, err := drivers.ReadKernelFile("/proc/self/stat"); err != nil || !strings.Contains(got, ")") {
		t.Errorf("/proc/self/stat: %q, %v", got, err)
	}
}

func TestKernelFileErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		path, op string
		err      error
	}{
		{filepath.Join(dir, "nothing"), "open", fs.ErrNotExist},
		{dir, "read", syscall.EISDIR},
	} {
		_, err := drivers.ReadKernelFile(c.path)
		var at *fs.PathError
		if !errors.Is(err, c.err) || !errors.As(err, &at) || at.Path != c.path || at.Op != c.op {
			t.Errorf("%s: %v", c.path, err)
		}
	}
}
