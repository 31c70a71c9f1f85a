package status_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/buffer"
	"edgegateway/status"
)

var update = flag.Bool("update", false, "write testdata anew")

func TestMetricsAreAsInTheGoldenFile(t *testing.T) {
	code, got := get(t, newServer(t, busy()), "/metrics")
	if code != http.StatusOK {
		t.Fatalf("status %d", code)
	}
	// What differs between two runs.
	for _, name := range []string{"gateway_uptime_seconds", "process_resident_memory_bytes", `gateway_device_reading_age_seconds\{[^}]*\}`} {
		got = regexp.MustCompile(`(?m)^(`+name+`) .*$`).ReplaceAllString(got, "$1 0")
	}
	const golden = "testdata/metrics.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("metrics differ from %s (write it anew with -update):\n%s", golden, got)
	}
}

func TestMetricsAreWellFormed(t *testing.T) {
	_, got := get(t, newServer(t, busy()), "/metrics")
	name := `[a-z_]+`
	label := `[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"`
	sample := regexp.MustCompile(`^(` + name + `)(?:\{` + label + `(?:,` + label + `)*\})? (?:[-+0-9.e]+|NaN|[+-]Inf)$`)
	family := ""
	for line := range strings.Lines(got) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			family, _, _ = strings.Cut(rest, " ")
			continue
		}
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil || m[1] != family {
			t.Errorf("in family %q: %q", family, line)
		}
	}
}

func TestOfflineDeviceShowsNoValueAsMetric(t *testing.T) {
	_, got := get(t, newServer(t, busy()), "/metrics")
	if strings.Contains(got, `gateway_device_value{device="meter"`) {
		t.Error("the last value of an offline device is shown as if it were measured")
	}
}

func TestHealthSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*status.Sources)
		code   int
		body   string
	}{
		{"healthy", func(*status.Sources) {}, 200, "ok\n"},
		{"stuck broker", func(s *status.Sources) { s.Healthy = func(context.Context) error { return errSick } }, 503, "the broker does not answer\n"},
		{"full disk", func(s *status.Sources) { s.Store = fakeStore{buffer.Stats{Full: true, Err: "ENOSPC"}} }, 503, "the disk is full"},
		{"failing disk", func(s *status.Sources) { s.Store = fakeStore{buffer.Stats{Err: "input/output error"}} }, 503, "input/output error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := quiet()
			c.change(&src)
			code, body := get(t, newServer(t, src), "/healthz")
			if code != c.code || !strings.Contains(body, c.body) {
				t.Errorf("got %d %q, want %d with %q", code, body, c.code, c.body)
			}
		})
	}
}

func TestHealthCheckIsNotWaitedForLongerThanItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := quiet()
		src.Healthy = func(ctx context.Context) error {
			<-ctx.Done()
			return errSick
		}
		begun := time.Now()
		if code, _ := get(t, newServer(t, src), "/healthz"); code != http.StatusServiceUnavailable || time.Since(begun) > 2*time.Second {
			t.Errorf("status %d after %v", code, time.Since(begun))
		}
	})
}

func TestOnlyLoopbackHostsAreAnswered(t *testing.T) {
	s := newServer(t, busy())
	for host, want := range map[string]int{
		"localhost:8080": 200, "LOCALHOST": 200, "127.0.0.1:8080": 200, "127.0.0.1": 200, "127.1.2.3:1": 200, "[::1]:8080": 200, "[::1]": 200, "[::ffff:127.0.0.1]:80": 200,
		"evil.example": 421, "evil.example:8080": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example:8080": 421, "192.168.1.5:8080": 421, "0.0.0.0:8080": 421, "": 421,
	} {
		for _, path := range []string{"/", "/v1/status", "/metrics", "/healthz", "/nothing"} {
			req := httptest.NewRequest("GET", path, nil)
			req.Host = host
			want := want
			if want == 200 && path == "/nothing" {
				want = 404
			}
			if got := ask(s, req).StatusCode; got != want {
				t.Errorf("Host %q, %s: status %d, want %d", host, path, got, want)
			}
		}
	}
}

// The page runs its own style and script, and nothing else.
func TestPolicyNamesThePageByItsHash(t *testing.T) {
	res := ask(newServer(t, busy()), httptest.NewRequest("GET", "http://localhost/", nil))
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	policy := res.Header.Get("Content-Security-Policy")
	for _, tag := range []string{"style", "script"} {
		m := regexp.MustCompile(`(?s)<` + tag + `>(.*)</` + tag + `>`).FindSubmatch(body)
		if m == nil {
			t.Fatalf("no <%s> in the page", tag)
		}
		sum := sha256.Sum256(m[1])
		if want := fmt.Sprintf("%s-src 'sha256-%s'", tag, base64.StdEncoding.EncodeToString(sum[:])); !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %s", policy, want)
		}
	}
	if !strings.Contains(policy, "default-src 'none'") || res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("headers: %v", res.Header)
	}
	if m := regexp.MustCompile(`(?i)(src|href)\s*=\s*["']?(https?:)?//[^"' ]*`).Find(body); m != nil {
		t.Errorf("the page asks the network for %s", m)
	}
}

func TestLinkIsCutByThePageAlone(t *testing.T) {
	link := &fakeLink{}
	link.Set(true)
	src := quiet()
	src.Link = link
	s := newServer(t, src)
	for _, c := range []struct {
		name, method, origin, site, kind, body string
		want                                   int
	}{
		{"another site", "POST", "http://evil.example", "cross-site", "application/json", `{"up":false}`, 403},
		{"another site, old browser", "POST", "http://evil.example", "", "application/json", `{"up":false}`, 403},
		{"another port of this machine", "POST", "http://localhost:3000", "same-site", "application/json", `{"up":false}`, 403},
		{"a form", "POST", "", "", "text/plain", `{"up":false}`, 415},
		{"a link", "GET", "", "", "", "", 405},
		{"no answer to up", "POST", "http://localhost:8080", "same-origin", "application/json", `{}`, 400},
		{"more than was asked for", "POST", "http://localhost:8080", "same-origin", "application/json", `{"up":false,"x":1}`, 400},
		{"no JSON", "POST", "http://localhost:8080", "same-origin", "application/json", `up`, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ask(s, linkRequest(c.method, c.origin, c.site, c.kind, c.body)).StatusCode; got != c.want {
				t.Errorf("status %d, want %d", got, c.want)
			}
			if !link.Up() {
				t.Error("the link is cut")
			}
		})
	}
	res := ask(s, linkRequest("POST", "http://localhost:8080", "same-origin", "application/json", `{"up":false}`))
	if res.StatusCode != 200 || link.Up() {
		t.Errorf("the page itself: status %d, link up %t", res.StatusCode, link.Up())
	}
}

func TestNoLinkToCutOutsideOfTheDemo(t *testing.T) {
	s := newServer(t, quiet())
	if got := ask(s, linkRequest("POST", "", "", "application/json", `{"up":false}`)).StatusCode; got != 404 {
		t.Errorf("status %d, want 404", got)
	}
	if _, body := get(t, s, "/v1/status"); strings.Contains(body, `"link"`) {
		t.Errorf("the report offers a link: %s", body)
	}
}

func linkRequest(method, origin, site, kind, body string) *http.Request {
	req := httptest.NewRequest(method, "http://localhost:8080/v1/link", strings.NewReader(body))
	for name, value := range map[string]string{"Origin": origin, "Sec-Fetch-Site": site, "Content-Type": kind} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	return req
}

// What is not known is null, and a list of nothing is an empty list.
func TestReportInventsNothing(t *testing.T) {
	_, body := get(t, newServer(t, quiet()), "/v1/status")
	for _, want := range []string{`"problems":[]`, `"devices":[]`, `"clouds":[]`, `"received_per_second":null`, `"commit_seconds":null`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	_, body = get(t, newServer(t, busy()), "/v1/status")
	var r status.Report
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatal(err)
	}
	if climate := r.Devices[0]; len(climate.Lost) != 1 || climate.Lost[0] != "no link to cloud acme for 1m0s" {
		t.Errorf("a device that is without its cloud: %+v", climate)
	}
	if climate := r.Devices[0]; climate.Errors != 1 || climate.LastErr != "no answer" || climate.ErrAge == nil {
		t.Errorf("the last error: %+v", climate)
	}
	if meter := r.Devices[1]; meter.Online || meter.Age != nil || meter.Reason == "" || meter.Lost != nil {
		t.Errorf("a device that never answered: %+v", meter)
	}
	if acme := r.Clouds[0]; acme.Connected || acme.Queued != 517 || acme.Oldest != nil {
		t.Errorf("a cloud that never answered: %+v", acme)
	}
	if d := r.Clouds[1].Draining; d == nil || d.Left != 4200 || d.Rate != 70 || d.Remaining == nil || *d.Remaining != 60 {
		t.Errorf("a cloud with a backlog: %+v", d)
	}
}

func TestTheLastErrorOfACloudHasAnAge(t *testing.T) {
	src := quiet()
	src.Clouds = []status.CloudSource{
		fakeCloud{Name: "a", LastError: "no route", LastErrorAt: time.Now().Add(-time.Hour)},
		fakeCloud{Name: "b"},
	}
	var r status.Report
	_, body := get(t, newServer(t, src), "/v1/status")
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatal(err)
	}
	if a := r.Clouds[0].ErrAge; a == nil || *a < 3600 || *a > 3700 || r.Clouds[1].ErrAge != nil {
		t.Errorf("got %v and %v", a, r.Clouds[1].ErrAge)
	}
}
