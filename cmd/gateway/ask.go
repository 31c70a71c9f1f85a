package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker"
	"edgegateway/buffer"
	"edgegateway/config"
	"edgegateway/status"
)

// askGateway asks the running gateway and copies the answer to w. status.ErrNotRunning
// (wrapped) means that there is none.
func (c *socketChoice) askGateway(ctx context.Context, p *process, method, path string, w io.Writer) error {
	paths, err := c.paths(p)
	if err != nil {
		return err
	}
	for _, socket := range paths {
		err := status.Dial(socket).Stream(ctx, method, path, w)
		if !errors.Is(err, status.ErrNotRunning) {
			return err
		}
	}
	return exitError{exitNotRunning, fmt.Sprintf("no gateway is running: nobody answers at %s. Start one with \"gateway run\", or name its socket with -socket.", strings.Join(paths, " or "))}
}

// askDevice has the running gateway do something to a device, which it answers within
// patience; one that hangs never does.
func (c *socketChoice) askDevice(ctx context.Context, p *process, path string, patience time.Duration, w io.Writer) error {
	const grace = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience+grace)
	defer cancel()
	return c.askGateway(ctx, p, http.MethodPost, path, w)
}

func notRunning(err error) bool {
	var exit exitError
	return errors.As(err, &exit) && exit.code == exitNotRunning
}

// askStore asks the running gateway or, if there is none, has the file answer: a GET
// does not change it.
func (c *socketChoice) askStore(ctx context.Context, p *process, method, path string, w io.Writer) (err error) {
	err = c.askGateway(ctx, p, method, path, w)
	if !notRunning(err) || c.socket != "" {
		return err
	}
	cfg, cerr := loadConfig(c.config, p.getenv)
	if cerr != nil {
		return cerr
	}
	st, err := openStoreFile(p, cfg, method != http.MethodGet)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if method != http.MethodGet {
		defer func() { err = errors.Join(err, ownLikeDir(cfg.DataDir, storePath(cfg), storePath(cfg)+".state")) }()
	}
	decoder, err := broker.NewDecoder(st)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	d, err := newDesk(st, decoder, cfg.Cloud)
	if err != nil {
		return err
	}
	d.handle(mux.Handle)
	return serveHere(ctx, mux, method, path, w)
}

// openStoreFile opens the store of a gateway that does not run.
func openStoreFile(p *process, cfg config.Config, toChange bool) (st *buffer.Store, err error) {
	file := storePath(cfg)
	log := newLog(p.stderr, max(cfg.Log.Threshold(), slog.LevelWarn), false, false)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) { // to open it would make one
		return nil, exitError{exitFailed, fmt.Sprintf("no gateway is running, and there is no store at %s: name the file that the gateway is started with, with -config.", file)}
	}
	if !toChange {
		st, err = buffer.OpenReadOnly(file, log)
	} else if st, err = buffer.Open(file, cfg.Buffer, log, storeOptions(&notifier{log: log})...); err == nil {
		err = setLimits(st, cfg.Cloud)
	}
	if errors.Is(err, buffer.ErrLocked) {
		return nil, fmt.Errorf("%w, but nobody answers at its control socket: name it with -socket", err)
	}
	return st, err
}

// setLimits has the queues of clouds keep what is configured for them.
func setLimits(st *buffer.Store, clouds []cloud.Config) error {
	for _, c := range clouds {
		if name := cloud.QueueName(c.Name); st.Find(name) != nil {
			if _, err := st.Queue(name, c.Limits()); err != nil {
				return errors.Join(err, st.Close())
			}
		}
	}
	return nil
}

// serveHere has a handler answer in this process.
func serveHere(ctx context.Context, h http.Handler, method, path string, w io.Writer) (err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, nil)
	if err != nil {
		return err
	}
	a := &answerHere{w: w, header: make(http.Header), code: http.StatusOK}
	defer func() {
		if r := recover(); r == http.ErrAbortHandler {
			err = errors.New("the answer is not complete: the store could not be read to its end")
		} else if r != nil {
			panic(r)
		}
	}()
	h.ServeHTTP(a, req)
	if a.code == http.StatusOK {
		return a.err
	}
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(a.refusal.Bytes(), &e) != nil || e.Error == "" {
		e.Error = http.StatusText(a.code)
	}
	return errors.New(e.Error)
}

type answerHere struct {
	w       io.Writer
	header  http.Header
	code    int
	refusal bytes.Buffer
	err     error
}

func (a *answerHere) Header() http.Header  { return a.header }
func (a *answerHere) WriteHeader(code int) { a.code = code }
func (a *answerHere) Write(b []byte) (n int, err error) {
	if a.code != http.StatusOK {
		return a.refusal.Write(b)
	}
	if n, err = a.w.Write(b); err != nil {
		a.err = err
	}
	return n, err
}

// wordsOf parses flags that stand between and behind the words of a command line. A
// negative number is a word, and so is all that stands behind "--".
func wordsOf(f *flag.FlagSet, args []string) (words []string, err error) {
	var plain []string
	if at := slices.Index(args, "--"); at >= 0 {
		args, plain = args[:at], args[at+1:]
	}
	for len(args) > 0 {
		_, notNumber := strconv.ParseFloat(args[0], 64)
		if strings.HasPrefix(args[0], "-") && args[0] != "-" && notNumber != nil {
			if err := f.Parse(args); err != nil {
				return nil, err
			}
			args = f.Args()
			continue
		}
		words, args = append(words, args[0]), args[1:]
	}
	return append(words, plain...), nil
}

// understand decodes the answer of a gateway into v.
func understand(answer []byte, v any) error {
	if err := json.Unmarshal(answer, v); err != nil {
		return fmt.Errorf("the gateway's answer is cut or not JSON: %w", err)
	}
	return nil
}
