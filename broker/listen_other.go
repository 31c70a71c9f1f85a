//go:build !linux

package broker

import "net"

func listenTCP(address string) (net.Listener, error) { return net.Listen("tcp", address) }
