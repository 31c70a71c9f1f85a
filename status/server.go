package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Server answers the page's address and the control socket. Safe for concurrent use.
type Server struct {
	log     *slog.Logger
	src     Sources
	rates   rates
	page    http.Handler
	control *http.ServeMux
}

// New prepares the server; nothing is opened. cfg must be valid.
func New(cfg Config, src Sources, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{log: log, src: src, control: http.NewServeMux()}
	s.page = s.pageHandler()
	s.control.HandleFunc("GET /v1/status", s.serveReport)
	s.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, fmt.Sprintf("this gateway (version %s) does not know %s %s", src.Gateway.Version, r.Method, r.URL.Path))
	})
	return s, nil
}

// HandleControl adds a question that the control socket answers; pattern is one of http.ServeMux below
// /v1/. Call it before ServeControl.
func (s *Server) HandleControl(pattern string, h http.Handler) { s.control.Handle(pattern, h) }

// Listen opens the page's address.
func Listen(cfg Config) (net.Listener, error) {
	ln, err := net.Listen("tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("open the status page: %w", err)
	}
	return ln, nil
}

// sampleEvery is the distance of the counters that rates are made from.
const sampleEvery = time.Second

// Run samples the counters that rates are made from until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		s.rates.add(s.src.counters(time.Now()))
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Report is the gateway at this moment.
func (s *Server) Report(ctx context.Context) Report {
	r := s.src.report(ctx, time.Now())
	s.rates.fill(&r)
	return r
}

// Handler answers the page, /metrics and /healthz.
func (s *Server) Handler() http.Handler { return s.page }

// Serve answers the page, /metrics and /healthz on ln until ctx ends, and closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.serve(ctx, limit(ln, 64), &http.Server{Handler: s.page})
}

// ServeControl answers the control socket on ln until ctx ends, and closes ln.
func (s *Server) ServeControl(ctx context.Context, ln net.Listener) error {
	return s.serve(ctx, limit(ln, 16), &http.Server{
		Handler: onlyAllowedPeers(s.control),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peerAllowed(unwrap(c)))
		},
	})
}

// The far side of a connection may be slow, broken or bad; these bound what it can hold.
const (
	headerTimeout = 5 * time.Second
	answerTimeout = 20 * time.Second
	idleTimeout   = 60 * time.Second
	maxHeader     = 16 << 10
	stopTimeout   = time.Second
)

func (s *Server) serve(ctx context.Context, ln net.Listener, h *http.Server) error {
	h.ReadHeaderTimeout = headerTimeout
	h.ReadTimeout = answerTimeout
	h.WriteTimeout = answerTimeout
	h.IdleTimeout = idleTimeout
	h.MaxHeaderBytes = maxHeader
	h.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)

	var stopped sync.WaitGroup
	served := make(chan struct{})
	stopped.Go(func() {
		select {
		case <-ctx.Done():
		case <-served:
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if h.Shutdown(grace) != nil {
			h.Close() // who still reads after the grace has seen enough
		}
	})
	err := h.Serve(ln)
	close(served)
	stopped.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", ln.Addr(), err)
}

func (s *Server) serveReport(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, s.Report(r.Context()))
}

type peerKey struct{}

func onlyAllowedPeers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err, _ := r.Context().Value(peerKey{}).(error); err != nil {
			fail(w, http.StatusForbidden, err.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the far side may be gone; nothing to do about it
}

func fail(w http.ResponseWriter, code int, sentence string) {
	answer(w, code, map[string]string{"error": sentence})
}

func sentences(problems []string) string { return strings.Join(problems, "\n") + "\n" }
