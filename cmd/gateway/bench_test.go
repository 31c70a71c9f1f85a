package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// startSink runs gateway bench -sink and returns its address.
func startSink(t *testing.T) string {
	t.Helper()
	c := exec.Command(program, "bench", "-sink", "-address", "127.0.0.1:0")
	c.Env = clean()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		if !lines.Scan() || !strings.HasSuffix(lines.Text(), " received") {
			t.Errorf("the last word of the sink is %q", lines.Text())
		}
		if err := c.Wait(); err != nil {
			t.Errorf("the sink: %v", err)
		}
	})
	if !lines.Scan() {
		t.Fatal("the sink says nothing")
	}
	return strings.TrimPrefix(lines.Text(), "sink on ")
}

func TestBenchMeasuresEachQoS(t *testing.T) {
	addr := startSink(t)
	code, stdout, stderr := verb(t, "bench", "-json", "-address", addr, "-subscribers", "0", "-qos", "0,1,2", "-count", "20000", "-version", "5")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	d := json.NewDecoder(strings.NewReader(stdout))
	for qos := range 3 {
		var r struct {
			QoS     int     `json:"qos"`
			Sent    int     `json:"sent"`
			Acked   int     `json:"acked"`
			PerSec  float64 `json:"sent_per_second"`
			Version string  `json:"version"`
		}
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if r.QoS != qos || r.Sent != 20000 || r.Acked != 20000*min(qos, 1) || r.PerSec <= 0 || r.Version != "5.0" {
			t.Errorf("QoS %d: %+v", qos, r)
		}
	}
	code, stdout, _ = verb(t, "bench", "-address", "tcp://"+addr, "-mode", "connects", "-count", "50")
	if code != 0 || !strings.Contains(stdout, "50 in ") || !strings.Contains(stdout, "generator") {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
}

func TestBenchSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"-address", "127.0.0.1:1"}, 1, "connection refused"},
		{[]string{"-qos", "3"}, 2, `"3" is no QoS`},
		{[]string{"-version", "4"}, 2, "neither 3.1.1 nor 5"},
		{[]string{"-mode", "storm"}, 2, "the modes are messages, connects, idle and retained"},
		{[]string{"-payload", "8"}, 1, "20 bytes"},
		{[]string{"-address", "ws://127.0.0.1"}, 2, "it must be tcp://, tls:// or unix://"},
		{[]string{"now"}, 2, "one word too many"},
	} {
		code, _, stderr := verb(t, append([]string{"bench"}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.say) {
			t.Errorf("%s: exit code %d, %s", fmt.Sprint(c.args), code, stderr)
		}
	}
}
