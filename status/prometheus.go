package status

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// prometheus writes the text exposition format, version 0.0.4. Samples of one family stand together below
// its HELP and TYPE, which are left out for a family without samples.
type prometheus struct {
	b    bytes.Buffer
	name string
	head string // of the family at hand, until its first sample
}

// family begins a metric; kind is "gauge" or "counter".
func (p *prometheus) family(name, kind, help string) {
	// In HELP a backslash and a line end are escaped, a double quote is not.
	help = strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(help)
	p.name = name
	p.head = "# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n"
}

// sample adds one value; labels are name, value, name, value.
func (p *prometheus) sample(v float64, labels ...string) {
	p.b.WriteString(p.head)
	p.head = ""
	p.b.WriteString(p.name)
	for i := 0; i+1 < len(labels); i += 2 {
		p.b.WriteByte(",{"[b2i(i == 0)])
		p.b.WriteString(labels[i])
		p.b.WriteString(`="`)
		p.b.WriteString(labelEscaper.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD")))
		p.b.WriteByte('"')
	}
	if len(labels) > 1 {
		p.b.WriteByte('}')
	}
	p.b.WriteByte(' ')
	p.b.WriteString(number(v))
	p.b.WriteByte('\n')
}

// gauge and counter are families of a single sample without labels.
func (p *prometheus) gauge(name, help string, v float64) {
	p.family(name, "gauge", help)
	p.sample(v)
}

func (p *prometheus) counter(name, help string, v int64) {
	p.family(name, "counter", help)
	p.sample(float64(v))
}

// labelEscaper: in a label value a backslash, a double quote and a line end are escaped.
var labelEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func number(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		return strconv.FormatInt(int64(v), 10) // 123456789 rather than 1.23456789e+08
	}
	return strconv.FormatFloat(v, 'g', -1, 64) // NaN is spelled "NaN" by both sides
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
