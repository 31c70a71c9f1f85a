package config

import "fmt"

// File is a file that the configuration names.
type File struct {
	Key    string // as Fault wants it: cloud[0].tls.key
	Path   string // as written: relative to the working directory
	Secret bool   // nobody but the gateway's user should be able to read it
}

// Files lists the files that the configuration names and that must be readable,
// in the order of the sections. Whether they are is not looked at here.
func (c Config) Files() []File {
	var all []File
	add := func(section, key, path string, secret bool) {
		if path != "" {
			all = append(all, File{section + "." + key, path, secret})
		}
	}
	for i, l := range c.Broker.Listeners {
		section := fmt.Sprintf("broker.listeners[%d]", i)
		add(section, "password_file", l.PasswordFile, true)
		add(section, "acl_file", l.ACLFile, false)
		add(section, "tls.cert", l.TLS.Cert, false)
		add(section, "tls.key", l.TLS.Key, true)
		add(section, "tls.client_ca", l.TLS.ClientCA, false)
	}
	for i, one := range c.Cloud {
		section := fmt.Sprintf("cloud[%d]", i)
		add(section, "username_file", one.UsernameFile, false)
		add(section, "password_file", one.PasswordFile, true)
		add(section, "proxy_password_file", one.ProxyPasswordFile, true)
		add(section, "tls.ca", one.TLS.CA, false)
		add(section, "tls.cert", one.TLS.Cert, false)
		add(section, "tls.key", one.TLS.Key, true)
	}
	add("status", "password_file", c.Status.PasswordFile, true)
	return all
}
