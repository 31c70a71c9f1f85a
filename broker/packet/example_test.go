package packet_test

import (
	"fmt"
	"io"
	"strings"

	"edgegateway/broker/packet"
)

// A reader goroutine reads what there is, takes all whole packets out of it, and
// keeps the rest. Its buffer grows as bytes arrive: what a header promises is
// never allocated at once.
func ExampleDecoder() {
	conn := strings.NewReader("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c" + "\x30\x0a\x00\x06a/temp21" + "\xc0\x00")
	d := packet.Decoder{MaxPacketSize: 1 << 20}
	buf := make([]byte, 0, 16)
	for {
		n, err := conn.Read(buf[len(buf):cap(buf)])
		if err == io.EOF {
			return
		}
		buf = buf[:len(buf)+n]
		rest := buf
		for {
			p, n, need, err := d.Next(rest)
			if err != nil {
				fmt.Println(err)
				return
			}
			if p == nil {
				if buf = append(buf[:0], rest...); need > cap(buf) && len(buf) == cap(buf) {
					buf = append(buf, make([]byte, len(buf))...)[:len(buf)] // twice the room
				}
				break
			}
			switch p := p.(type) {
			case *packet.Publish:
				fmt.Printf("%s = %s\n", p.Topic, p.Payload)
			default:
				fmt.Println(p.Type())
			}
			rest = rest[n:]
		}
	}
	// Output:
	// CONNECT
	// a/temp = 21
	// PINGREQ
}
