package serial

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestSplitterGivesTheSameLinesHoweverTheyArrive(t *testing.T) {
	for _, c := range []struct {
		ending, in string
		most       int
		want       []string
	}{
		{"", "a\nb\r\nc\rd", 10, []string{"a", "b", "c"}},
		{"", "\n\n\r\nx\n", 10, []string{"x"}},
		{"", "12345\n123456\n1\n", 5, []string{"12345", "!", "1"}},
		{"", strings.Repeat("z", 1000) + "\nok\n", 5, []string{"!", "ok"}},
		{"\r\n", "a\nb\r\nc\r\r\nd\r", 10, []string{"a\nb", "c\r"}},
		{"\r\n", "12345\r\n123456\r\n1\r\n", 5, []string{"12345", "!", "1"}},
		{";", "t=1;t=2;\n", 5, []string{"t=1", "t=2"}},
		{"END", "aENENDbEND" + strings.Repeat("E", 50) + "ENDcEND", 5, []string{"aEN", "b", "!", "c"}},
	} {
		for piece := 1; piece <= len(c.in); piece++ {
			s := splitter{ending: []byte(c.ending), most: c.most}
			var got []string
			for chunk := range slices.Chunk([]byte(c.in), piece) {
				s.feed(chunk, func(line []byte, err error) {
					if err != nil {
						line = []byte("!")
					}
					got = append(got, string(line))
				})
				if len(s.line) > c.most+len(c.ending)+1 {
					t.Fatalf("the splitter holds %d bytes", len(s.line))
				}
			}
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.want) {
				t.Errorf("%.40q in pieces of %d: %q, want %q", c.in, piece, got, c.want)
			}
		}
	}
}

func FuzzDecodersTakeAnything(f *testing.F) {
	for _, s := range []string{`{"a":{"b":[1,{"c":null}]},"d":1e999}`, "a=1 b:2;c", "1,2,", "\xff\x00", `{"a":1}{`, `{"":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, o := range []LineOptions{{Format: "json"}, {Format: "kv"}, {Format: "csv", Separator: ",", Columns: []string{"a", "", "c"}}, {Format: "regex", Pattern: `(?P<a>\d+)(?P<b>.)?`}} {
			values, err := newDecoder(o)(line)
			if (err == nil) != (len(values) > 0) || len(values) > mostValues {
				t.Errorf("%s of %q: %v, %v", o.Format, line, values, err)
			}
			for _, v := range values {
				if v.Channel == "" || v.Channel != channelName(v.Channel) || len(v.Channel) > 64 {
					t.Errorf("%s of %q: channel %q", o.Format, line, v.Channel)
				}
			}
		}
	})
}
