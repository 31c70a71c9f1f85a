package cloud

import (
	"fmt"
	"os"
	"strings"
)

// stamps tells whether one of the files that decide over a connect has changed.
func (c Config) stamps() string {
	var all strings.Builder
	for _, path := range []string{c.UsernameFile, c.PasswordFile, c.ProxyPasswordFile, c.TLS.CA, c.TLS.Cert, c.TLS.Key} {
		if path == "" {
			continue
		}
		if i, err := os.Stat(path); err == nil {
			fmt.Fprintf(&all, "%d %d", i.ModTime().UnixNano(), i.Size())
		}
		all.WriteByte('\n')
	}
	return all.String()
}
