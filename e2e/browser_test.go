package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
	"edgegateway/internal/need"
)

// mqttJS is the client that most pages use, in the version that scripts/test.sh
// fetches to the cache directory of the user.
const mqttJS = "edgegateway/mqtt-5.16.0.min.js"

// browserReport is what testdata/browser.html says in the end.
type browserReport struct {
	Error        string    `json:"error"`
	Subprotocol  string    `json:"subprotocol"`
	Got          []arrival `json:"got"`
	Acknowledged []int     `json:"acknowledged"` // by QoS
}

type arrival struct {
	QoS     int    `json:"qos"`
	Payload string `json:"payload"`
}

// pages serves the page on loopback, and hands on what pages report.
func pages(t *testing.T) (port string, reports <-chan browserReport) {
	t.Helper()
	need.Program(t, "chromium")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(cache, mqttJS)
	_, err = os.Stat(library) // scripts/test.sh fetches it
	need.Met(t, err)
	got := make(chan browserReport, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/browser.html") })
	mux.HandleFunc("GET /mqtt.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, library) })
	mux.HandleFunc("POST /report", func(w http.ResponseWriter, r *http.Request) {
		var report browserReport
		if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
			report.Error = "the report can not be read: " + err.Error()
		}
		got <- report
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	_, port, err = net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, got
}

// browse opens a page in a Chromium without a window, and closes that with the
// test.
func browse(t *testing.T, page string) {
	t.Helper()
	profile, err := os.MkdirTemp("", "chromium-")
	if err != nil {
		t.Fatal(err)
	}
	var out output
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
		"--disable-dev-shm-usage", "--disable-breakpad", "--no-proxy-server",
		"--remote-debugging-port=0", // else it ends when the page is loaded
		"--user-data-dir="+profile, page)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // its children hold the pipe a little longer
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // all of it; it may be gone
		_ = cmd.Wait()
		if err := os.RemoveAll(profile); err != nil {
			t.Logf("the profile of the browser is left: %v", err)
		}
		if t.Failed() {
			t.Logf("what chromium printed:\n%s", out.String())
		}
	})
}

// webGateway starts a gateway that takes MQTT over TCP and over WebSocket.
func webGateway(t *testing.T, more string) (gateway *process, tcp, web string) {
	t.Helper()
	tcp, web = need.Port(t), need.Port(t)
	config := write(t, t.TempDir(), "gateway.toml", fmt.Sprintf(`
id = "e2e"
data_dir = %q
status.address = ""
[[broker.listeners]]
address = "tcp://%s"
[[broker.listeners]]
address = "ws://%s"
%s`, t.TempDir(), tcp, web, more))
	return start(t, binary, "run", "-config", config), tcp, "ws://" + web + "/mqtt"
}

func pageAddress(host, port, web string, level int, topic string) string {
	return "http://" + net.JoinHostPort(host, port) + "/page?" +
		url.Values{"broker": {web}, "level": {fmt.Sprint(level)}, "topic": {topic}}.Encode()
}

func wait(t *testing.T, reports <-chan browserReport) browserReport {
	t.Helper()
	select {
	case r := <-reports:
		return r
	case <-time.After(90 * time.Second): // a browser on a busy board
		t.Fatal("the page has reported nothing")
		return browserReport{}
	}
}

// mqtt.js in Chromium speaks every version over a WebSocket, and what it publishes
// comes to clients of plain TCP as well.
func TestAPageInABrowserIsAClient(t *testing.T) {
	port, reports := pages(t)
	gateway, tcp, web := webGateway(t, "")
	want := []arrival{{0, "zero"}, {1, "one"}, {2, "two"}, {2, strings.Repeat("x", 200000)}}
	for level, subprotocol := range map[int]string{3: "mqttv3.1", 4: "mqtt", 5: "mqtt"} {
		t.Run(fmt.Sprintf("level %d", level), func(t *testing.T) {
			topic := fmt.Sprintf("page/%d", level)
			c, _ := brokertest.Connect(t, tcp, packet.V311, &packet.Connect{ClientID: fmt.Sprint("tcp", level), CleanStart: true})
			c.Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: topic, QoS: 0}}}).
				Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{0}})
			browse(t, pageAddress("127.0.0.1", port, web, level, topic))
			r := wait(t, reports)
			if r.Error != "" || len(r.Got) != len(want) || r.Subprotocol != subprotocol {
				t.Fatalf("the page reports %q, subprotocol %q, %d messages and acknowledgements for %v", r.Error, r.Subprotocol, len(r.Got), r.Acknowledged)
			}
			slices.Sort(r.Acknowledged)
			if !slices.Equal(r.Acknowledged, []int{0, 1, 2, 2}) {
				t.Errorf("acknowledged are %v", r.Acknowledged)
			}
			// The order among messages of different QoS is free.
			var all []packet.Packet
			for _, w := range want {
				if !slices.Contains(r.Got, w) {
					t.Errorf("the page did not get %.10q at QoS %d", w.Payload, w.QoS)
				}
				all = append(all, &packet.Publish{Topic: []byte(topic), Payload: []byte(w.Payload)})
			}
			c.ExpectInAnyOrder(all...)
		})
	}
	gateway.stop()
	if !strings.Contains(gateway.out.String(), "mqtt   "+web+"\n") {
		t.Errorf("the gateway does not say that it listens on %s:\n%s", web, gateway.out.String())
	}
}

// A page from elsewhere is let in only if the owner of the gateway has said so.
func TestAPageFromElsewhereIsRefusedUnlessItIsListed(t *testing.T) {
	port, reports := pages(t)
	t.Run("refused", func(t *testing.T) {
		gateway, _, web := webGateway(t, "")
		browse(t, pageAddress("localhost", port, web, 4, "page"))
		if r := wait(t, reports); r.Error == "" || r.Subprotocol != "" || len(r.Got) > 0 {
			t.Errorf("a page of localhost reaches 127.0.0.1: %+v", r)
		}
		gateway.stop()
		if !strings.Contains(gateway.out.String(), "http://localhost:"+port) {
			t.Errorf("the log does not name the page:\n%s", gateway.out.String())
		}
	})
	t.Run("listed", func(t *testing.T) {
		_, _, web := webGateway(t, fmt.Sprintf("origins = [\"http://localhost:%s\"]\n", port))
		browse(t, pageAddress("localhost", port, web, 4, "page"))
		if r := wait(t, reports); r.Error != "" {
			t.Errorf("a listed page reports %q", r.Error)
		}
	})
}
