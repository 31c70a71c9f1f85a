package status

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"strings"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// pageHandler answers the page's address. The guards stand before every path.
func (s *Server) pageHandler() http.Handler {
	page := []byte(strings.NewReplacer("/*style*/", pageCSS, "/*script*/", pageJS).Replace(pageHTML))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(page)
	})
	mux.HandleFunc("GET /v1/status", s.serveReport)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(metrics(s.Report(r.Context())))
	})
	mux.HandleFunc("GET /healthz", s.serveHealth)
	if s.src.Link != nil {
		mux.HandleFunc("POST /v1/link", s.setLink)
	}
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusForbidden, "only this page itself may change something here, not one of another site")
	}))
	return headers(onlyLoopbackHost(sameOrigin.Handler(mux)))
}

// serveHealth answers 200 "ok", or 503 and what is wrong, a sentence per line.
func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if problems := s.src.problems(r.Context()); len(problems) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(sentences(problems)))
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// setLink cuts or restores the link of the demo.
func (s *Server) setLink(w http.ResponseWriter, r *http.Request) {
	// A form of another site can not send this type without asking first, and nobody answers that question.
	if r.Header.Get("Content-Type") != "application/json" {
		fail(w, http.StatusUnsupportedMediaType, `send {"up": true} or {"up": false} as application/json`)
		return
	}
	var want struct {
		Up *bool `json:"up"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(&want); err != nil || want.Up == nil {
		fail(w, http.StatusBadRequest, `send {"up": true} or {"up": false}`)
		return
	}
	s.src.Link.Set(*want.Up)
	answer(w, http.StatusOK, LinkInfo{Up: s.src.Link.Up()})
}

// headers lets the page run its own script and style and nothing else, and nobody frame it.
func headers(next http.Handler) http.Handler {
	policy := "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" +
		"; style-src " + sourceHash(pageCSS) + "; script-src " + sourceHash(pageJS)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

func sourceHash(text string) string {
	sum := sha256.Sum256(bytes.ReplaceAll([]byte(text), []byte("\r\n"), []byte("\n")))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// onlyLoopbackHost refuses a request that was made to another name. A page of a strange site can let its own
// name resolve to 127.0.0.1 and would then be of the same origin as ours (DNS rebinding); its Host header
// tells.
func onlyLoopbackHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !loopback(strings.TrimSuffix(strings.TrimPrefix(strings.ToLower(host), "["), "]")) {
			fail(w, http.StatusMisdirectedRequest, "this page answers at localhost and 127.0.0.1 only; from another machine, go through ssh -L 8080:127.0.0.1:8080")
			return
		}
		next.ServeHTTP(w, r)
	})
}
