package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"edgegateway/broker"
)

func passwdVerb() verb {
	return verb{
		name:    "passwd",
		args:    "[-D] FILE USER",
		summary: "set or delete the password of an MQTT user",
		about: "Writes the password of a user into the password_file of a listener, hashed with argon2id. All\n" +
			"other lines stay as they are, also those of mosquitto_passwd. The password is asked for, or read\n" +
			"from standard input, one line. A running gateway reads the file when it starts again.",
		example: "gateway passwd /etc/gateway/passwd anna\nprintf 'secret\\n' | gateway passwd /etc/gateway/passwd anna\ngateway passwd -D /etc/gateway/passwd anna",
		setup: func(f *flag.FlagSet) action {
			remove := f.Bool("D", false, "delete the user instead")
			return func(_ context.Context, p *process, args []string) error {
				if len(args) != 2 {
					return usageError("name a file and a user")
				}
				file, user := args[0], args[1]
				if err := checkUser(user); err != nil {
					return err
				}
				if *remove {
					return editPasswords(file, user, "")
				}
				password, err := readPassword(p, user)
				if err != nil {
					return err
				}
				return editPasswords(file, user, broker.HashPassword(password))
			}
		},
	}
}

// checkUser refuses what could not be found again in the file, or not be sent as an
// MQTT user name.
func checkUser(user string) error {
	switch {
	case user == "":
		return usageError("the user name is empty")
	case strings.ContainsRune(user, ':') || user[0] == '#':
		return usageError("a user name has no colon and does not begin with #: the file could not hold it")
	case !utf8.ValidString(user) || len(user) > 65535 || strings.ContainsFunc(user, unicode.IsControl):
		return usageError("a user name is UTF-8 text of at most 65535 bytes without control characters")
	}
	return nil
}

// readPassword asks twice on a terminal, where nothing is shown, and else reads a
// line.
func readPassword(p *process, user string) ([]byte, error) {
	fd := int(p.stdin.Fd())
	var password []byte
	if term.IsTerminal(fd) {
		again, err := askTwice(p, fd, user, &password)
		if err != nil {
			return nil, fmt.Errorf("read the password: %w", err)
		}
		if !bytes.Equal(password, again) {
			return nil, errors.New("the two passwords are not the same; nothing is changed")
		}
	} else {
		line, err := bufio.NewReader(io.LimitReader(p.stdin, 65535+2)).ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read the password: %w", err)
		}
		password = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	}
	switch {
	case len(password) == 0:
		return nil, errors.New("the password is empty; nothing is changed")
	case len(password) > 65535:
		return nil, errors.New("the password is longer than the 65535 bytes that MQTT can carry; nothing is changed")
	}
	return password, nil
}

func askTwice(p *process, fd int, user string, password *[]byte) (again []byte, err error) {
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	show := func() { _ = term.Restore(fd, before) } // at a second Ctrl-C the terminal must not stay mute
	p.lastWill.Store(&show)
	for i, question := range []string{"Password for " + user + ": ", "The same again: "} {
		fmt.Fprint(p.stderr, question)
		line, err := term.ReadPassword(fd)
		fmt.Fprintln(p.stderr)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			*password = line
		}
		again = line
	}
	return again, nil
}

// editPasswords replaces the line of a user, or deletes it if hash is "". The file
// is replaced as a whole, so that whoever reads it sees the old one or the new one.
func editPasswords(file, user, hash string) error {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real // the link stays
	}
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the password file: %w", err)
	}
	text, found := withLine(string(old), user, hash)
	if hash == "" && !found {
		return fmt.Errorf("%s has no user %q", file, user)
	}
	if err := replaceFile(file, text); err != nil {
		return fmt.Errorf("write the password file: %w", err)
	}
	return nil
}

// withLine is the text of a password file with another line for a user.
func withLine(text, user, hash string) (changed string, found bool) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, user+":") {
			b.WriteString(line)
			if !strings.HasSuffix(line, "\n") {
				b.WriteByte('\n')
			}
			continue
		}
		if hash != "" && !found {
			b.WriteString(user + ":" + hash + "\n")
		}
		found = true
	}
	if hash != "" && !found {
		b.WriteString(user + ":" + hash + "\n")
	}
	return b.String(), found
}

// replaceFile writes a file that its owner alone can read. One that is there keeps
// its owner and its mode, but for what everybody may: the gateway reads it as its
// own user or group, which is not who types.
func replaceFile(file, text string) error {
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, ".passwd-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // once it has its place there is nothing to remove
	defer f.Close()
	var was unix.Stat_t
	if unix.Stat(file, &was) == nil {
		err := f.Chown(int(was.Uid), int(was.Gid))
		if err != nil && os.Geteuid() != 0 { // others may not give a file away, but to a group of theirs
			err = f.Chown(-1, int(was.Gid))
		}
		if err == nil {
			err = f.Chmod(fs.FileMode(was.Mode & 0o770))
		}
		if err != nil && os.Geteuid() == 0 { // else it is theirs alone from now on
			return err
		}
	}
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync() // else the old file may be back after a power cut
}
