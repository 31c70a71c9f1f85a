package status_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/bridge/field"
	"edgegateway/broker"
	"edgegateway/buffer"
	"edgegateway/drivers"
	"edgegateway/status"
)

// fakes answer what they were told to.
type (
	fakeBroker  struct{ s func() broker.Stats }
	fakeStore   struct{ s buffer.Stats }
	fakeDevices []field.DeviceStatus
	fakeCloud   cloud.Status
	fakeLink    struct{ up atomic.Bool }
)

func (f fakeBroker) Stats() broker.Stats            { return f.s() }
func (f fakeStore) Stats() buffer.Stats             { return f.s }
func (f fakeDevices) Devices() []field.DeviceStatus { return f }
func (f fakeCloud) Status() cloud.Status            { return cloud.Status(f) }
func (f *fakeLink) Up() bool                        { return f.up.Load() }
func (f *fakeLink) Set(up bool)                     { f.up.Store(up) }

// quiet are the sources of a gateway with nothing configured.
func quiet() status.Sources {
	return status.Sources{
		Gateway:   status.Gateway{ID: "greenhouse", Prefix: "greenhouse", Version: "1.2.3", Commit: "abc"},
		Started:   time.Now(),
		StorePath: "/data/gateway.db",
		Broker:    fakeBroker{func() broker.Stats { return broker.Stats{} }},
		Store:     fakeStore{},
		Devices:   fakeDevices{},
		Healthy:   func(context.Context) error { return nil },
	}
}

// busy are the sources of a gateway where much is going on, some of it bad.
func busy() status.Sources {
	s := quiet()
	s.Broker = fakeBroker{func() broker.Stats {
		return broker.Stats{
			Clients: 3, Sessions: 4, Subscriptions: 12, RetainedMessages: 34,
			PublishReceived: 45678, PublishSent: 123456, PublishDropped: 2, ConnectionsRefused: 5, NotMQTT: 1,
		}
	}}
	s.Store = fakeStore{buffer.Stats{
		BytesWritten: 1310720, Commits: 34, Fsyncs: 35, FileSize: 262144, PendingBytes: 100, Cancelled: 12801, LatencyMean: 4 * time.Millisecond,
	}}
	now := time.Now()
	s.Alarms = func() []status.Alarm {
		return []status.Alarm{{Name: "clock", Text: "The clock is not set."}, {Name: `a"b`, Text: "?"}}
	}
	s.Devices = fakeDevices{
		{Name: "climate", Kind: "sim", Online: true, Lost: []string{"no link to cloud acme for 1m0s"}, Since: now, LastReading: now, Counts: drivers.Counts{Readings: 7, Errors: 1, LastError: "no answer", LastErrorAt: now}, Values: []drivers.Value{
			{Channel: "temperature", V: 21.5}, {Channel: "pump", V: true}, {Channel: "count", V: int64(1 << 40)}, {Channel: "text", V: "hello"},
			{Channel: "odd \"name\" \\ with\na line", V: 1.5e-9},
		}},
		{Name: "meter", Kind: "serial-line", Reason: "open /dev/ttyUSB0: no such file", Counts: drivers.Counts{Errors: 61}, Values: []drivers.Value{{Channel: "power", V: 5.0}}},
	}
	s.Clouds = []status.CloudSource{
		fakeCloud{Name: "acme", Server: "mqtts://a.example:8883", Queued: 517, QueuedBytes: 310000, Sent: 12345, Received: 12, Dropped: 1, Rejected: 2, Resent: 3, LastError: "no route to host"},
		fakeCloud{Name: "backup", Connected: true, Sent: 1, Connects: 1, Draining: &cloud.Draining{Left: 4200, Rate: 70, Remaining: time.Minute}},
	}
	return s
}

func newServer(t *testing.T, src status.Sources) *status.Server {
	t.Helper()
	s, err := status.New(status.DefaultConfig(), src, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends one request to the page as a browser on this machine would.
func ask(s *status.Server, req *http.Request) *http.Response {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, req)
	return w.Result()
}

func get(t *testing.T, s *status.Server, path string) (code int, body string) {
	t.Helper()
	req := httptest.NewRequest("GET", "http://localhost:8080"+path, nil)
	res := ask(s, req)
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

var errSick = errors.New("the broker does not answer")
