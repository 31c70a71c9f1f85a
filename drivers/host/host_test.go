package host_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"edgegateway/drivers"
	"edgegateway/drivers/host"
)

// Fixtures are files of /proc and /sys, cut to what matters.
var (
	common = map[string]string{
		"proc/loadavg":     "0.42 1.05 0.99 2/213 4711\n",
		"proc/meminfo":     "MemTotal:         948304 kB\nMemFree:          112000 kB\nMemAvailable:     711228 kB\nHugePages_Total:       0\n",
		"proc/uptime":      "35411.75 101000.12\n",
		"proc/self/status": "Name:\tgateway\nState:\tS (sleeping)\nVmRSS:\t   12345 kB\n",
		"proc/net/dev": `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 9999999    2677    0    0    0     0          0         0 9999999     2677    0    0    0     0       0          0
  eth0:5000000000  6497    0    0    0     0          0         0   373537    3815    0    0    0     0       0          0
 wlan0:    1000    6497    0    0    0     0          0         0      537    3815    0    0    0     0       0          0
docker0:   7777    6497    0    0    0     0          0         0     7777    3815    0    0    0     0       0          0
`,
		"sys/class/net/lo/mtu":             "65536\n",
		"sys/class/net/eth0/device/uevent": "",
		"sys/class/net/wlan0/device/x":     "",
		"sys/class/net/docker0/mtu":        "1500\n",
	}
	raspberryPi = map[string]string{
		"sys/class/thermal/thermal_zone0/type":   "cpu-thermal\n",
		"sys/class/thermal/thermal_zone0/temp":   "48312\n",
		"sys/class/hwmon/hwmon0/name":            "cpu_thermal\n",
		"sys/class/hwmon/hwmon0/temp1_input":     "48312\n",
		"sys/class/hwmon/hwmon1/name":            "rpi_volt\n",
		"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
	}
	rockchip = map[string]string{
		"sys/class/thermal/thermal_zone0/type": "gpu-thermal\n",
		"sys/class/thermal/thermal_zone0/temp": "41000\n",
		"sys/class/thermal/thermal_zone1/type": "soc-thermal\n",
		"sys/class/thermal/thermal_zone1/temp": "39500\n",
	}
	personalComputer = map[string]string{
		"sys/class/thermal/thermal_zone0/type": "acpitz\n",
		"sys/class/thermal/thermal_zone0/temp": "27800\n",
		"sys/class/thermal/thermal_zone1/type": "iwlwifi_1\n", // switched off: cannot be read
		"sys/class/hwmon/hwmon3/name":          "k10temp\n",
		"sys/class/hwmon/hwmon3/temp1_input":   "55125\n",
	}
)

func tree(t *testing.T, parts ...map[string]string) (root string) {
	root = t.TempDir()
	put(t, root, parts...)
	return root
}

func put(t *testing.T, root string, parts ...map[string]string) {
	for _, part := range parts {
		for name, text := range part {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func with(options string) func(any) error {
	return func(dst any) error {
		return toml.NewDecoder(strings.NewReader(options)).DisallowUnknownFields().Decode(dst)
	}
}

func open(t *testing.T, root, options string) (drivers.Sampler, error) {
	d, err := host.Kind().Open(t.Context(), with(options), drivers.Ports{Root: root})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { d.Close() })
	return d.(drivers.Sampler), nil
}

func values(t *testing.T, d drivers.Sampler) map[string]any {
	r, err := d.Sample(t.Context())
	if err != nil || r.Fault != nil {
		t.Fatal(err, r.Fault)
	}
	got := make(map[string]any)
	for _, v := range r.Values {
		got[v.Channel] = v.V
	}
	return got
}

func TestMachinesGiveWhatTheyHave(t *testing.T) {
	for _, c := range []struct {
		name, options string
		files         map[string]string
		temperature   any
	}{
		{"Raspberry Pi", "", raspberryPi, 48.312},
		{"Rockchip: the SoC, not the GPU", "", rockchip, 39.5},
		{"PC: the processor, not the mainboard", "", personalComputer, 55.125},
		{"a sensor that is not connected", "", map[string]string{
			"sys/class/thermal/thermal_zone0/type": "cpu-thermal\n", "sys/class/thermal/thermal_zone0/temp": "-273000\n"}, nil},
		{"another sensor by name", `sensor = "gpu-thermal"`, rockchip, 41.0},
		{"no thermal zone at all", "", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := open(t, tree(t, common, c.files), c.options)
			if err != nil {
				t.Fatal(err)
			}
			got := values(t, d)
			if free, _ := got["disk_free"].(int64); free <= 0 {
				t.Errorf("disk_free = %v", got["disk_free"])
			}
			if used, _ := got["disk_used"].(float64); used < 0 || used > 100 {
				t.Errorf("disk_used = %v", got["disk_used"])
			}
			delete(got, "disk_free")
			delete(got, "disk_used")
			want := map[string]any{
				"load_1m": 0.42, "load_5m": 1.05, "load_15m": 0.99,
				"memory_total": int64(948304 * 1024), "memory_available": int64(711228 * 1024), "memory_used": 25.0,
				"uptime":           int64(35411),
				"network_received": int64(5000001000), "network_sent": int64(374074),
				"gateway_memory": int64(12345 * 1024),
			}
			if c.temperature != nil {
				want["cpu_temperature"] = c.temperature
			}
			for k, w := range want {
				if got[k] != w {
					t.Errorf("%s = %v, want %v", k, got[k], w)
				}
			}
			if len(got) != len(want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if n := len(d.Channels()); n != len(want)+2 {
				t.Errorf("%d channels for %d values", n, len(want)+2)
			}
		})
	}
}

func TestChannelsAreOnlyThoseThatExist(t *testing.T) {
	d, err := open(t, tree(t, map[string]string{"proc/uptime": "1.5 2\n"}), `disk = ""`)
	if err != nil {
		t.Fatal(err)
	}
	if ch := d.Channels(); len(ch) != 1 || ch[0].Name != "uptime" {
		t.Errorf("channels %v", ch)
	}
	_, err = open(t, t.TempDir(), `disk = ""`)
	var missing *drivers.MissingError
	if !errors.As(err, &missing) {
		t.Errorf("an empty machine opened: %v", err)
	}
}

func TestNamedInterfacesAlone(t *testing.T) {
	d, err := open(t, tree(t, common), `interfaces = ["docker0", "wlan0"]`)
	if err != nil {
		t.Fatal(err)
	}
	if got := values(t, d)["network_received"]; got != int64(8777) {
		t.Errorf("network_received = %v, want 8777", got)
	}
}

// A counter that falls looks like one that has begun anew, and is added up as such.
func TestTrafficOfAnInterfaceThatIsPulledOut(t *testing.T) {
	both := common["proc/net/dev"]
	without := strings.Replace(both, "\n wlan0:", "\n  tun0:", 1)
	anew := strings.Replace(both, " wlan0:    1000", " wlan0:     200", 1)
	for options, want := range map[string][]any{
		``:                               {int64(5000001000), int64(5000001000), int64(5000001200)},
		`interfaces = ["wlan0", "eth0"]`: {int64(5000001000), nil, int64(5000001200)},
	} {
		root := tree(t, common)
		d, err := open(t, root, options)
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range []string{both, without, anew} {
			if err := os.WriteFile(filepath.Join(root, "proc/net/dev"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			r, err := d.Sample(t.Context())
			var got any
			for _, v := range r.Values {
				if v.Channel == "network_received" {
					got = v.V
				}
			}
			if got != want[i] || err != nil {
				t.Errorf("%s %d: %v, %v; want %v", options, i, got, err, want[i])
			}
		}
	}
}

// Some drivers count in an unsigned long, which on a kernel of 32 bits ends at 4 GiB.
func TestACounterThatBeginsAnewLeavesTheOtherDirectionAlone(t *testing.T) {
	root := tree(t, common)
	count := func(received, sent int64) {
		line := fmt.Sprintf("wlan0: %d 1 0 0 0 0 0 0 %d 1 0 0 0 0 0 0\n", received, sent)
		if err := os.WriteFile(filepath.Join(root, "proc/net/dev"), []byte(line), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	count(4294967000, 500)
	d, err := open(t, root, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ received, sent, wantReceived, wantSent int64 }{
		{300, 600, 4294967300, 600},
		{400, 4294967295, 4294967400, 4294967295},
		{500, 5, 4294967500, 4294967300},
	} {
		count(c.received, c.sent)
		if got := values(t, d); got["network_received"] != c.wantReceived || got["network_sent"] != c.wantSent {
			t.Errorf("%d and %d, want %d and %d", got["network_received"], got["network_sent"], c.wantReceived, c.wantSent)
		}
	}
}

// The kernel numbers the chips anew when an adapter is plugged in again, and another one
// may get the number.
func TestASensorWithAnotherNumberIsFoundAgain(t *testing.T) {
	chip := func(number, name, temperature string) map[string]string {
		dir := "sys/class/hwmon/hwmon" + number + "/"
		return map[string]string{dir + "name": name + "\n", dir + "temp1_input": temperature + "\n"}
	}
	root := tree(t, common, chip("3", "tmp105", "4000"))
	d, err := open(t, root, `sensor = "tmp105"`)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		chips []map[string]string
		want  any
	}{
		{[]map[string]string{chip("3", "tmp105", "4500")}, 4.5},
		{nil, nil},
		{[]map[string]string{chip("3", "drivetemp", "55000")}, nil},
		{[]map[string]string{chip("3", "drivetemp", "55000"), chip("4", "tmp105", "5000")}, 5.0},
	} {
		if err := os.RemoveAll(filepath.Join(root, "sys/class/hwmon")); err != nil {
			t.Fatal(err)
		}
		put(t, root, c.chips...)
		r, err := d.Sample(t.Context())
		var got any
		for _, v := range r.Values {
			if v.Channel == "cpu_temperature" {
				got = v.V
			}
		}
		if got != c.want || err != nil || slices.Contains(r.Bad, "cpu_temperature") != (c.want == nil) {
			t.Errorf("%d: %v, %v, bad: %v; want %v", i, got, err, r.Bad, c.want)
		}
	}
}

func TestMissingPartIsAFaultOfTheRest(t *testing.T) {
	root := tree(t, common, raspberryPi)
	d, err := open(t, root, `interfaces = ["wwan0"]`)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "sys/class/thermal/thermal_zone0/temp"), []byte("rubbish"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := d.Sample(t.Context())
	if err != nil || r.Fault == nil || !strings.Contains(r.Fault.Error(), "wwan0") || !strings.Contains(r.Fault.Error(), "rubbish") {
		t.Errorf("fault %v, error %v", r.Fault, err)
	}
	if len(r.Values) != 10 {
		t.Errorf("%d values beside the faults, want 10", len(r.Values))
	}
	if got := strings.Join(r.Bad, " "); got != "cpu_temperature network_received network_sent" {
		t.Errorf("bad: %s", got) // or they would stay what they were
	}
}

func TestAnUnknownSensorIsBadAndNamesThoseThatExist(t *testing.T) {
	root := tree(t, common, rockchip)
	d, err := open(t, root, `sensor = "cpu"`)
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Sample(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := `the temperature sensor "cpu" is not there; this machine has gpu-thermal, soc-thermal`
	if r.Fault == nil || r.Fault.Error() != want {
		t.Errorf("fault %v, want %s", r.Fault, want)
	}
	if !slices.Equal(r.Bad, []string{"cpu_temperature"}) || len(r.Values) < 5 {
		t.Errorf("bad %v; of the rest: %v", r.Bad, r.Values)
	}
	// Its driver is loaded later.
	zone := filepath.Join(root, "sys/class/thermal/thermal_zone9")
	if err := os.MkdirAll(zone, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"type": "cpu\n", "temp": "43210\n"} {
		if err := os.WriteFile(filepath.Join(zone, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := values(t, d)["cpu_temperature"]; got != 43.21 {
		t.Errorf("when it has come: %v", got)
	}
}

func TestWhatWasAskedForAndIsNotThereIsKnownBefore(t *testing.T) {
	root := tree(t, common, rockchip)
	for options, want := range map[string]string{
		`disk = "/"`: "<nil>",
		`disk = "/"
sensor = "soc-thermal"`: "<nil>",
		`disk = ""
sensor = "cpu"`: `the temperature sensor "cpu" is not there; this machine has gpu-thermal, soc-thermal`,
		`disk = "/nonexist"
interfaces = ["eth77"]`: root + "/nonexist is not there; set disk to a path that exists; " +
			"one of the network interfaces eth77 is not there; `ip link` lists those of this machine",
	} {
		if err := host.Kind().Reach(with(options), root); fmt.Sprint(err) != want {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
}

func TestWrongOptions(t *testing.T) {
	for options, want := range map[string]string{
		`disk = "data"`:           "disk must be",
		`interfaces = ["eth0:1"]`: "interfaces[0] holds",
		`temperature = true`:      "strict mode",
	} {
		if err := host.Kind().Check(with(options)); err == nil || !strings.HasPrefix(strings.TrimPrefix(err.Error(), "toml: "), want) && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", options, err)
		}
	}
}

func TestThisMachine(t *testing.T) {
	d, err := open(t, "", "")
	if err != nil {
		t.Fatal(err)
	}
	got := values(t, d)
	for _, name := range []string{"load_1m", "memory_total", "disk_free", "uptime", "gateway_memory"} {
		if got[name] == nil {
			t.Errorf("no %s on a Linux machine: %v", name, got)
		}
	}
	t.Log(got)
}
