//go:build !linux

package cloud

import "net"

func prompt(c net.Conn) net.Conn { return c }
