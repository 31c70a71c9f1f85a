package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// passwd runs the verb with a password on standard input.
func passwd(t *testing.T, stdin string, args ...string) (code int, stderr string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), program, append([]string{"passwd"}, args...)...)
	c.Env = clean()
	c.Stdin = strings.NewReader(stdin)
	var errOut bytes.Buffer
	c.Stderr = &errOut
	return exitCode(t, c.Run()), errOut.String()
}

func TestPasswdChangesOneLine(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "passwd")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	lines := func() []string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.SplitAfter(string(b), "\n")
	}
	for _, user := range []string{"anna", "bert"} {
		if code, errOut := passwd(t, "secret\n", file, user); code != 0 {
			t.Fatalf("exit code %d: %s", code, errOut)
		}
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	before := lines()
	if len(before) != 3 || !strings.HasPrefix(before[0], "anna:$argon2id$v=19$m=7168,t=5,p=1$") || !strings.HasPrefix(before[1], "bert:$argon2id$") {
		t.Fatalf("the file is %q", before)
	}
	if err := os.WriteFile(file, []byte("# kept\n"+strings.Join(before, "")+"an:$7$101$QUFB$x"), 0o640); err != nil {
		t.Fatal(err)
	}
	if code, errOut := passwd(t, "other", link, "anna"); code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	after := lines()
	if len(after) != 5 || after[0] != "# kept\n" || after[1] == before[0] || !strings.HasPrefix(after[1], "anna:$argon2id$") ||
		after[2] != before[1] || after[3] != "an:$7$101$QUFB$x\n" {
		t.Errorf("the file is %q, was %q", after, before)
	}
	if code, errOut := passwd(t, "", "-D", file, "anna"); code != 0 {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	if got := strings.Join(lines(), ""); got != "# kept\n"+before[1]+"an:$7$101$QUFB$x\n" {
		t.Errorf("the file is %q", got)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, errOut := passwd(t, "other", file, "bert"); code != 0 {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v; want 0640: its group reads it, as before, and not everybody", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".passwd-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestPasswdRefusesWhatNobodyCouldUse(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "passwd")
	for _, c := range []struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		{"\n", []string{file, "anna"}, 1, "the password is empty"},
		{strings.Repeat("x", 65536), []string{file, "anna"}, 1, "longer than"},
		{"x\n", []string{file, "an:na"}, 2, "no colon"},
		{"x\n", []string{file, "#anna"}, 2, "begin with #"},
		{"x\n", []string{file, "an\nna"}, 2, "control characters"},
		{"x\n", []string{file}, 2, "name a file and a user"},
		{"", []string{"-D", file, "anna"}, 1, "has no user"},
		{"x\n", []string{filepath.Join(file, "x"), "anna"}, 1, "no such file"},
	} {
		code, errOut := passwd(t, c.stdin, c.args...)
		if code != c.code || !strings.Contains(errOut, c.want) {
			t.Errorf("%q: exit code %d, want %d and %q: %s", c.args, code, c.code, c.want, errOut)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file was made")
	}
}

func TestCheckReadsRulesAndPasswords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rules, passwords := filepath.Join(dir, "acl"), filepath.Join(dir, "passwd")
	config := filepath.Join(dir, "gateway.toml")
	text := "data_dir = \"" + dir + "\"\n[status]\naddress = \"\"\n[[broker.listeners]]\naddress = \"tcp://127.0.0.1:0\"\n" +
		"acl_file = \"" + rules + "\"\npassword_file = \"" + passwords + "\"\n"
	for _, c := range []struct {
		rules, passwords, want string
		code                   int
	}{
		{"topic read a\n", "# nobody\n", "no problem found", 0},
		{"topic read a\ntopic see b\n", "", rules + ":2: ", 1},
		{"", "anna:plain\n", passwords + ":1: ", 1},
	} {
		for file, content := range map[string]string{rules: c.rules, passwords: c.passwords, config: text} {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if code, out, errOut := verb(t, "check", "-offline", "-config", config); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("exit code %d, want %d and %q:\n%s%s", code, c.code, c.want, out, errOut)
		} else if n := strings.Count("\n"+out, "\nproblem"); n != c.code {
			t.Errorf("said %d times:\n%s", n, out)
		}
	}
}
