// Package need says what a test needs of its machine: programs, ports, time. Where that is missing the test is
// skipped; with CI=true in the environment, where all of it is installed, it fails.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// Met goes on if err is nil.
func Met(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("%v; with CI=true this must be there", err)
	default:
		t.Skipf("SKIPPED: %v", err)
	}
}

// Program returns the path of a program, of the administrator's too. scripts/test.sh
// installs all that tests need.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin/", "/usr/local/sbin/"} {
		if err != nil {
			path, err = exec.LookPath(dir + name)
		}
	}
	Met(t, err)
	return path
}

// Tmpfs puts a file system in memory over a directory until the end of the test. Only
// root may.
func Tmpfs(t testing.TB, dir, options string) {
	t.Helper()
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput()
	if err != nil {
		t.Logf("mount: %s", out)
	}
	Met(t, err)
	t.Cleanup(func() {
		// Lazily: a program that the test left behind may still be in it.
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
}
