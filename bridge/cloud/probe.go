package cloud

import "context"

// Probe connects to one of the servers as the bridge would, with proxy, TLS and
// WebSocket, and closes the connection again. Nothing of MQTT is sent.
func (c Config) Probe(ctx context.Context, url string) error {
	s, err := parseServer(url)
	if err != nil {
		return err
	}
	conn, err := c.dial(ctx, s)
	if err != nil {
		return err
	}
	return conn.Close()
}
