package config

import (
	"path/filepath"
	"strings"
)

const longestID = 64

// idOf makes an id of a host name: its first label, other characters than
// letters, digits, '_' and '-' replaced by '-'.
func idOf(hostname string) string {
	label, _, _ := strings.Cut(hostname, ".")
	id := strings.Map(func(r rune) rune {
		if inID(r) {
			return r
		}
		return '-'
	}, label)
	id = id[:min(len(id), longestID)]
	if id == "" {
		return "gateway"
	}
	return id
}

func inID(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
}

// dataDir is where systemd wants the state of the service, else a directory
// below the working directory. STATE_DIRECTORY lists several, divided by
// colons, when the unit asks for several (systemd.exec(5)).
func dataDir(getenv func(string) string) string {
	if first, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), string(filepath.ListSeparator)); first != "" {
		return first
	}
	return "./gateway-data"
}
