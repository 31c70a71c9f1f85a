package cloud

import (
	"fmt"
	"os"
	"strings"
)

// login is who we are to the server, for one connect.
type login struct {
	name     string
	hasName  bool
	password []byte // nil: none
}

// login reads the files that hold it.
func (c Config) login() (login, error) {
	l := login{name: c.Username, hasName: c.Username != "" || c.UsernameFile != ""}
	var err error
	if c.UsernameFile != "" {
		if l.name, err = readSecret("username_file", c.UsernameFile); err != nil {
			return login{}, err
		}
	}
	if c.PasswordFile != "" {
		password, err := readSecret("password_file", c.PasswordFile)
		if err != nil {
			return login{}, err
		}
		l.password = []byte(password)
	}
	return l, nil
}

// readSecret is the content of a file without the newline at its end. key is how
// the configuration names the file.
func readSecret(key, path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", key, err)
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if len(s) > 65535 { // what CONNECT has room for
		return "", fmt.Errorf("read %s: %s holds more than 65535 bytes", key, path)
	}
	return s, nil
}
