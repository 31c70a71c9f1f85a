package config

import (
	"fmt"
	"net"
	"strings"

	"edgegateway/bridge/cloud"
	"edgegateway/config/strict"
)

// Loops finds the ways on which messages would come back again and again between the
// clouds. One that is certain is an error of the file already.
func (c Config) Loops() []cloud.Loop { return cloud.Loops(c.Cloud, c.addresses()) }

// addresses are those of this machine at which the listeners are.
func (c Config) addresses() (list []string) {
	for _, l := range c.Broker.Listeners {
		scheme, address, _ := strings.Cut(l.Address, "://")
		host, port, err := net.SplitHostPort(address)
		if err != nil || scheme == "unix" {
			continue
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			for _, local := range []string{"127.0.0.1", "::1", "localhost"} {
				list = append(list, net.JoinHostPort(local, port))
			}
			continue
		}
		list = append(list, address)
		if host == "127.0.0.1" || host == "::1" {
			list = append(list, net.JoinHostPort("localhost", port))
		}
	}
	return list
}

// loops are the certain ones.
func (c Config) loops() (errs strict.Errors) {
	for _, l := range c.Loops() {
		if l.Certain {
			errs = append(errs, c.doc.Errorf(fmt.Sprintf("cloud[%d].up[%d]", l.Cloud, l.Up), "cloud.up closes a loop: %s", l.Sentence))
		}
	}
	return errs
}
