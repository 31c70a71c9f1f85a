package broker

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"edgegateway/buffer"
)

// Queues that keep the last value of a topic know the topic by 64 bits. Who may publish
// must not be able to find two topics with the same ones, for a value of one would
// replace that of the other: so they depend on a secret of this store.

var valueSecretKey = []byte("values")

// loadValueSecret reads the secret, or makes one. Another one, after damage, costs no
// more than that a value from before is not replaced by a newer one.
func (b *Broker) loadValueSecret() error {
	secret, _, err := b.tables.meta.Get(valueSecretKey)
	if err != nil {
		return fmt.Errorf("load the secret of topics: %w", err)
	}
	if len(secret) != 16 {
		secret = make([]byte, 16)
		if _, err := rand.Read(secret); err != nil {
			return err
		}
		c := b.store.Begin()
		c.Put(b.tables.meta, valueSecretKey, secret, buffer.Idle) // entries that need it bring a commit, which takes it along
		c.Commit(nil)
	}
	b.valueSecret = secret
	return nil
}

// valueKey is what a queue knows a message as a value of: its topic, where only the
// last one waits; else 0.
func (b *Broker) valueKey(p *Plan, r *route) uint64 {
	if !p.Last {
		return 0
	}
	if r.hash == 0 {
		r.hash = b.keyOf(p, r.name)
	}
	return r.hash
}

func (b *Broker) keyOf(p *Plan, topic []byte) uint64 {
	if !p.Last {
		return 0
	}
	mac := hmac.New(sha256.New, b.valueSecret)
	mac.Write(topic)
	return max(1, binary.BigEndian.Uint64(mac.Sum(nil)))
}
