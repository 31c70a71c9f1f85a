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

// askTimeout is how long a short answer may take.
const askTimeout = 10 * time.Second

// maxAnswer bounds what a command takes from the socket into memory.
const maxAnswer = 16 << 20

// Get asks one question and decodes the JSON of the answer into dst.
func (c *Client) Get(ctx context.Context, path string, dst any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := c.ask(ctx, http.MethodGet, path)
	if r := refusal(""); errors.As(err, &r) {
		return fmt.Errorf("ask the gateway for %s: %w", path, r)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(dst); err != nil {
		return fmt.Errorf("ask the gateway for %s: its answer is cut or not JSON: %w", path, err)
	}
	return nil
}

// Stream asks one question and copies the answer to w, however long it is. An answer
// that is cut is an error.
func (c *Client) Stream(ctx context.Context, method, path string, w io.Writer) error {
	body, err := c.ask(ctx, method, path)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(w, body); err != nil {
		return fmt.Errorf("take the answer of the gateway to %s: %w", path, err)
	}
	return nil
}

func (c *Client) ask(ctx context.Context, method, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask the gateway for %s: %w", path, err)
	}
	res, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: nobody answers at %s", ErrNotRunning, c.path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("ask the gateway at %s: permission denied: run the command as root, as the gateway's user, or join its group", c.path)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("the gateway at %s runs and does not answer; if it goes on, its log may say why, and only a restart helps: %w", c.path, context.DeadlineExceeded)
	case err != nil:
		var u *url.Error // its text is about a URL, which here is none
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("ask the gateway at %s: %w", c.path, err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	var e struct {
		Error string `json:"error"`
	}
	if json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&e) != nil || e.Error == "" {
		e.Error = res.Status
	}
	return nil, refusal(e.Error)
}

// refusal is what the gateway says instead of an answer: a sentence.
type refusal string

func (r refusal) Error() string { return string(r) }
