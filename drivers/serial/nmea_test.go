package serial_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/serialtest"
)

// nmea appends checksum and line ending.
func nmea(sentences ...string) string {
	var out strings.Builder
	for _, s := range sentences {
		var sum byte
		for _, c := range []byte(s) {
			sum ^= c
		}
		fmt.Fprintf(&out, "$%s*%02X\r\n", s, sum)
	}
	return out.String()
}

// receive sends texts, each followed by a silence, and returns what a receiver tells.
func receive(t *testing.T, send ...string) []string {
	t.Helper()
	return stream(t, serial.NMEAKind(), with(onPort), send...)
}

// The examples of u-blox's receiver descriptions, chapter on standard NMEA messages,
// in the form of u-blox 6 and as programs for these receivers quote them; later
// versions of NMEA add fields at the end.
func TestSentencesOfTheReceiverDescription(t *testing.T) {
	for _, c := range []struct{ sentence, want string }{
		{"$GPRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,A*57",
			"valid=true latitude=47.2852395 longitude=8.5652537 speed=0.002 course=77.52 time=2002-12-09T08:35:59.000Z"},
		{"$GPGGA,092725.00,4717.11399,N,00833.91590,E,1,08,1.01,499.6,M,48.0,M,,*5B",
			"valid=true fix_quality=gps satellites=8 latitude=47.2852332 longitude=8.565265 hdop=1.01 altitude=499.6"},
		{"$GPVTG,77.52,T,,M,0.004,N,0.008,K,A*06", "course=77.52 speed=0.002"},
		{"$GPGSA,A,3,23,29,07,08,09,18,26,28,,,,,1.94,1.18,1.54*0D", "fix=3d pdop=1.94"},
	} {
		if got := receive(t, c.sentence+"\r\n"); fmt.Sprint(got) != "["+c.want+"]" {
			t.Errorf("%s:\n got %v\nwant %s", c.sentence, got, c.want)
		}
	}
}

// What a NEO-6M says behind its switching on, recorded on chris.cnie.de/avr/neo-6.html.
func TestReceiverWithoutAFix(t *testing.T) {
	got := receive(t, strings.ReplaceAll(`$GPTXT,01,01,02,ANTSTATUS=DONTKNOW*33

$GPRMC,,V,,,,,,,,,,N*53
$GPVTG,,,,,,,,,N*30
$GPGGA,,,,,,0,00,99.99,,,,,,*48
$GPGSA,A,1,,,,,,,,,,,,,99.99,99.99,99.99*30
$GPGSV,1,1,00*79
$GPGLL,,,,,,V,N*64
`, "\n", "\r\n"))
	if want := "[valid=false fix_quality=none satellites=0 fix=none bad: latitude longitude speed course time hdop altitude pdop]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// Made by hand, for what the examples do not have.
func TestSentences(t *testing.T) {
	for _, c := range []struct{ sentence, want string }{
		{"GNRMC,235959.90,A,3351.6000,S,15112.6000,W,022.4,084.4,311299,,,A", "valid=true latitude=-33.86 longitude=-151.21 speed=11.524 course=84.4 time=1999-12-31T23:59:59.900Z"},
		{"GLRMC,000000,A,0000.0000,N,00000.0000,E,,,290224", "valid=true latitude=0 longitude=0 time=2024-02-29T00:00:00.000Z"},
		{"GPRMC,,V,,,,,,,,,,N", "valid=false bad: latitude longitude speed course time"},
		{"GPRMC,083559.00,V,4717.1,N,00833.9,E,1,2,091202", "valid=false bad: latitude longitude speed course time"},
		{"GPGGA,,,,,,0,00,99.99,,,,,,", "valid=false fix_quality=none satellites=0 bad: latitude longitude hdop altitude"},
		{"GNGGA,092725.00,4717.11399,N,00833.91590,E,4,12,0.5,-3.25,M,48.0,M,,", "valid=true fix_quality=rtk satellites=12 latitude=47.2852332 longitude=8.565265 hdop=0.5 altitude=-3.25"},
		{"GNGSA,A,1,,,,,,,,,,,,,99.99,99.99,99.99", "fix=none bad: pdop"},
		{"GPVTG,,T,,M,,N,36.0,K", "speed=10"},
		{"PUBX,00,081350.00,4717.113210,N", ""},
		{"GPGSV,3,1,10,23,38,230,44", ""},
		{"GPRMC,083559.00,A,9100.0,N,00833.9,E,1,2,091202", `fault: a sentence can not be read: field 3 is "9100.0" and not a latitude`},
		{"GPRMC,083559.00,A,4760.0,N,00833.9,E,1,2,091202", `fault: a sentence can not be read: field 3 is "4760.0" and not a latitude`},
		{"GPRMC,083559.00,A,4717.1,X,00833.9,E,1,2,091202", `fault: a sentence can not be read: field 4 is "X" and not N or S`},
		{"GPRMC,083559.00,A,4717.1,N,18000.1,E,1,2,091202", `fault: a sentence can not be read: field 5 is "18000.1" and not a longitude`},
		{"GPRMC,083559.00,A,4717.1,N,00833.9,E,x,2,091202", `fault: a sentence can not be read: field 7 is "x" and not a number`},
		{"GPRMC,083559.00,A,4717.1,N,00833.9,E,1,2,311102", "fault: a sentence can not be read: 311102 083559.00 is no date and time"},
		{"GPGGA,1,4717.1,N,00833.9,E,NaN,1,1,1,M", `fault: a sentence can not be read: field 6 is "NaN" and not a whole number`},
		{"GPGGA,1,4717.1,N,00833.9,E,9,1,1,1,M", "fault: a sentence can not be read: the quality is 9"},
		{"GPRMC,083559.00,A,4717.1,N,00833.9,E,-1,2,091202", `fault: a sentence can not be read: field 7 is "-1", which can not be the speed`},
		{"GPRMC,083559.00,A,4717.1,N,00833.9,E,1,361,091202", `fault: a sentence can not be read: field 8 is "361", which can not be the course`},
		{"GPGGA,1,4717.1,N,00833.9,E,1,1,1,1e300,M", `fault: a sentence can not be read: field 9 is "1e300", which can not be the altitude`},
		{"GPGSA,A,4,", "fault: a sentence can not be read: the fix is 4"},
	} {
		got := strings.Join(receive(t, nmea("GPTXT,01,01,02,ANTARIS"), nmea(c.sentence)), "; ")
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) || !strings.HasPrefix(c.want, "fault") && got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.sentence, got, c.want)
		}
	}
}

// The sentences of one moment are one reading, also when the receiver never pauses.
func TestOneReadingForAMoment(t *testing.T) {
	burst := func(second int, status string) string {
		return nmea(
			fmt.Sprintf("GNRMC,0835%02d.00,%s,4717.1,N,00833.9,E,1.0,2,091202,,,A", second, status),
			"GNVTG,2,T,,M,1.0,N,1.852,K,A",
			fmt.Sprintf("GNGGA,0835%02d.00,4717.1,N,00833.9,E,1,08,1.01,499.6,M,48.0,M,,", second),
			"GNGSA,A,3,23,29,,,,,,,,,,,1.94,1.18,1.54", "GNGSA,A,3,65,,,,,,,,,,,,1.94,1.18,1.54",
			"GPGSV,1,1,01,23,38,230,44",
		)
	}
	at := func(second int) string {
		return fmt.Sprintf("valid=true latitude=47.285 longitude=8.565 speed=0.514 course=2 time=2002-12-09T08:35:%02d.000Z"+
			" fix_quality=gps satellites=8 hdop=1.01 altitude=499.6 fix=3d pdop=1.94", second)
	}
	for name, send := range map[string][]string{
		"with pauses":    {burst(1, "A"), burst(2, "A")},
		"without":        {burst(1, "A") + burst(2, "A")},
		"begun in a cut": {burst(1, "A")[20:] + burst(2, "A")},
	} {
		got := receive(t, send...)
		if len(got) != 2 || got[1] != at(2) || got[0] != at(1) && name != "begun in a cut" {
			t.Errorf("%s: %q", name, got)
		}
	}
	// One sentence calls the position invalid: there is none.
	if got, want := receive(t, burst(1, "V")), "[valid=false fix_quality=gps satellites=8 fix=3d bad: latitude longitude speed course time hdop altitude pdop]"; fmt.Sprint(got) != want {
		t.Errorf("got %v", got)
	}
}

// A tunnel: the position stays what it was, but a speed of the past is none. A position
// before the first one is none either.
func TestFixThatIsLost(t *testing.T) {
	lost := nmea("GPRMC,083600.00,V,,,,,,,091202,,,N", "GPVTG,,T,,M,0.00,N,0.00,K,N", "GPGGA,083600.00,,,,,0,00,99.99,,,,,,", "GPGSA,A,1,,,,,,,,,,,,,99.99,99.99,99.99")
	got := receive(t, lost, nmea("GPRMC,083559.00,A,4717.1,N,00833.9,E,48.6,77.5,091202"), lost)
	const without = "valid=false fix_quality=none satellites=0 fix=none"
	want := []string{without + " bad: latitude longitude speed course time hdop altitude pdop", "valid=true latitude=47.285 longitude=8.565 speed=25.002 course=77.5 time=2002-12-09T08:35:59.000Z", without + " bad: speed course time hdop altitude pdop"}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Five times a second, without the time of day by which one would tell them apart.
func TestReceiverThatHasNoTimeAndNeverPauses(t *testing.T) {
	got := watch(t, serial.NMEAKind(), with(onPort), func(port *serialtest.Port) {
		for range 50 {
			port.Feed(nmea("GPRMC,,V,,,,,,,,,,N", "GPGSA,A,1,,,,,,,,,,,,,99.99,99.99,99.99"))
			time.Sleep(200 * time.Millisecond)
		}
	})
	if len(got) != 5 || serialtest.Show(got[0]) != "valid=false fix=none bad: latitude longitude speed course time pdop" {
		t.Errorf("%d readings in 10 s: %v", len(got), got)
	}
}

func TestDamagedSentencesAreFaults(t *testing.T) {
	good := nmea("GPVTG,1,T,,M,1,N,2,K")
	for _, c := range []struct{ line, want string }{
		{"$GPVTG,1,T,,M,2,N,2,K*" + good[len(good)-4:], "fault: a sentence has the wrong checksum"},
		{"$GPVTG,1,T,,M,1,N,2,K\r\n", "fault: a line is no sentence with a checksum; is the baud rate right?"},
		{"$GPVTG,1,T,,M,1,N,2,K*7\r\n", "fault: a line is no sentence"},
		{strings.Repeat("x", 200) + "\r\n", "fault: a line is longer than 160 bytes"},
		{"$GPVTG,9,T,,M," + good, "course=1 speed=0.514"}, // cut, and the next one whole
		{"!AIVDM,1,1,,A,14eG;o@034o8sd<L9i:a;WF>062D,0*7D\r\n", ""},
	} {
		got := receive(t, good, c.line)
		if len(got) == 0 || got[0] != "course=1 speed=0.514" || c.want == "" && len(got) != 1 || c.want != "" && (len(got) != 2 || !strings.HasPrefix(got[1], c.want)) {
			t.Errorf("%q: %q", c.line, got)
		}
	}
	if got := receive(t, "\xf8\x00garbage\r\n", good); len(got) != 1 {
		t.Errorf("a stream entered in the middle: %q", got)
	}
}

func TestReceiverThatIsSilentIsOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := serialtest.New()
		dev, err := serial.NMEAKind().Open(t.Context(), with(onPort), port.Ports())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err = dev.(drivers.Watcher).Watch(t.Context(), func(drivers.Reading) {})
		if took := time.Since(began); took > 11*time.Second || !strings.Contains(err.Error(), "no good sentence came for 10s; is the receiver on, is the baud rate right?") {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
