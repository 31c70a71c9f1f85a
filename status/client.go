package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// ErrNotRunning means that no gateway answers at the control socket.
var ErrNotRunning = errors.New("no gateway is running")

// A Client asks a running gateway over its control socket. Safe for concurrent use.
type Client struct {
	path string
	http http.Client
}

// Dial names the control socket to ask. Nothing is opened before the first question.
func Dial(path string) *Client {
	var d net.Dialer
	return &Client{path: path, http: http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true, // one question per command
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return d.DialContext(ctx, "unix", path)
			},
		},
	}}
}

// Status asks for the report. The error is ErrNotRunning (wrapped) when nobody answers.
func (c *Client) Status(ctx context.Context) (Report, error) {
	var r Report
	err := c.Get(ctx, "/v1/status", &r)
	return r, err
}

// maxAnswer bounds what a command takes from the socket into memory.
const maxAnswer = 16 << 20

// Get asks one question and decodes the JSON of the answer into dst.
func (c *Client) Get(ctx context.Context, path string, dst any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gateway"+path, nil)
	if err != nil {
		return fmt.Errorf("ask the gateway for %s: %w", path, err)
	}
	res, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nobody answers at %s", ErrNotRunning, c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("ask the gateway at %s: permission denied: run the command as root, as the gateway's user, or join its group", c.path)
	case err != nil:
		var u *url.Error // its text is about a URL, which here is none
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("ask the gateway at %s: %w", c.path, err)
	}
	defer res.Body.Close()
	body := io.LimitReader(res.Body, maxAnswer)
	if res.StatusCode != http.StatusOK {
		var e struct {
			Error string `json:"error"`
		}
		if json.NewDecoder(body).Decode(&e) != nil || e.Error == "" {
			e.Error = res.Status
		}
		return fmt.Errorf("ask the gateway for %s: %s", path, e.Error)
	}
	if err := json.NewDecoder(body).Decode(dst); err != nil {
		return fmt.Errorf("ask the gateway for %s: its answer is cut or not JSON: %w", path, err)
	}
	return nil
}
