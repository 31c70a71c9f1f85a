package modbus

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestRegistersBecomeValues(t *testing.T) {
	bit, none, three := 3, 0, 3
	for _, c := range []struct {
		p         Point
		registers string
		want      any
	}{
		{Point{}, "FFFE", int64(65534)},
		{Point{Type: "int16"}, "FFFE", int64(-2)},
		{Point{Type: "int16", Order: "DCBA"}, "FEFF", int64(-2)},
		{Point{Type: "int16", Scale: 0.1}, "00D9", 21.7},
		{Point{Type: "int16", Scale: -0.5, Offset: 10}, "0003", 8.5},
		{Point{Bit: &bit}, "0008", true},
		{Point{Bit: &bit}, "FFF7", false},
		{Point{Bit: &bit, Order: "BADC"}, "0800", true},
		{Point{Type: "uint32"}, "80000001", int64(1<<31 + 1)},
		{Point{Type: "int32"}, "80000001", int64(-1<<31 + 1)},
		{Point{Type: "uint32", Order: "ABCD"}, "0A0B0C0D", int64(0x0A0B0C0D)},
		{Point{Type: "uint32", Order: "CDAB"}, "0C0D0A0B", int64(0x0A0B0C0D)},
		{Point{Type: "uint32", Order: "BADC"}, "0B0A0D0C", int64(0x0A0B0C0D)},
		{Point{Type: "uint32", Order: "DCBA"}, "0D0C0B0A", int64(0x0A0B0C0D)},
		{Point{Type: "int64", Order: "ABCD"}, "0102030405060708", int64(0x0102030405060708)},
		{Point{Type: "int64", Order: "CDAB"}, "0708050603040102", int64(0x0102030405060708)},
		{Point{Type: "int64", Order: "BADC"}, "0201040306050807", int64(0x0102030405060708)},
		{Point{Type: "int64", Order: "DCBA"}, "0807060504030201", int64(0x0102030405060708)},
		{Point{Type: "uint64"}, "8000000000000000", math.Pow(2, 63)},
		{Point{Type: "uint64", Scale: 0.001}, "00000000000F4241", 1000.001},
		{Point{Type: "float32"}, "41AA6666", 21.3}, // and not 21.299999237060547
		{Point{Type: "float32", Order: "CDAB"}, "666641AA", 21.3},
		{Point{Type: "float32", Order: "DCBA"}, "6666AA41", 21.3},
		{Point{Type: "float32", Scale: 0.1}, "41AA6666", 2.13},
		{Point{Type: "float32", Decimals: &none}, "41AA6666", 21.0},
		{Point{Type: "float64"}, "40354CCCCCCCCCCD", 21.3},
		{Point{Type: "float64", Scale: 0.1, Decimals: &three}, "40354CCCCCCCCCCD", 2.13},
		{Point{Type: "int16", NoValue: []int64{-32768}}, "8000", nil},
		{Point{Type: "int16", NoValue: []int64{0x8000}}, "8000", nil}, // as its manual writes it
		{Point{Type: "int32", NoValue: []int64{0x80000000}}, "80000000", nil},
		{Point{Type: "uint64", NoValue: []int64{-1}}, "FFFFFFFFFFFFFFFF", nil}, // TOML has no larger number than 0x7FFFFFFFFFFFFFFF
		{Point{NoValue: []int64{0xFFFF}}, "FFFE", int64(65534)},
		{Point{Type: "float32"}, "7FC00000", nil},
		{Point{Type: "float32", Scale: 0.1}, "FFC00000", nil},
		{Point{Type: "float64"}, "7FF8000000000000", nil},
	} {
		got, ok, err := c.p.normal().decode(unhex(t, c.registers))
		if err != nil || got != c.want || ok != (c.want != nil) {
			t.Errorf("%s %s of %s: %v (%T), %v, %v; want %v", c.p.Type, c.p.Order, c.registers, got, got, ok, err, c.want)
		}
	}
	for _, registers := range []string{"7F800000", "FF800000"} {
		if v, _, err := (Point{Type: "float32"}).normal().decode(unhex(t, registers)); err == nil || !strings.Contains(err.Error(), "order ABCD") {
			t.Errorf("%s: %v, %v", registers, v, err)
		}
	}
}

func TestValuesBecomeRegisters(t *testing.T) {
	for _, c := range []struct {
		p     Point
		value any
		want  string // PDU
	}{
		{Point{Table: "coil"}, true, "05 0007 FF00"},
		{Point{Table: "coil"}, false, "05 0007 0000"},
		{Point{Table: "coil", Function: 15}, true, "0F 0007 0001 01 01"},
		{Point{Table: "coil", Function: 15}, false, "0F 0007 0001 01 00"},
		{Point{}, 65535.0, "06 0007 FFFF"},
		{Point{Function: 16}, 3.0, "10 0007 0001 02 0003"},
		{Point{Type: "int16"}, -2.0, "06 0007 FFFE"},
		{Point{Type: "int16", Scale: 0.1}, 21.7, "06 0007 00D9"},
		{Point{Type: "int16", Scale: 0.1, Offset: -40}, -39.7, "06 0007 0003"},
		{Point{Type: "uint32", Order: "CDAB"}, float64(0x0A0B0C0D), "10 0007 0002 04 0C0D0A0B"},
		{Point{Type: "int32", Order: "DCBA"}, -2.0, "10 0007 0002 04 FEFFFFFF"},
		{Point{Type: "int64", Order: "BADC"}, float64(0x01020304050608), "10 0007 0004 08 0100030205040806"},
		{Point{Type: "uint64"}, math.Pow(2, 63), "10 0007 0004 08 8000000000000000"},
		{Point{Type: "float32"}, 21.3, "10 0007 0002 04 41AA6666"},
		{Point{Type: "float64"}, 21.3, "10 0007 0004 08 40354CCCCCCCCCCD"},
	} {
		r, err := c.p.normal().write(c.value, 7)
		if err != nil || !bytes.Equal(r.append(nil), unhex(t, c.want)) {
			t.Errorf("%v as %s: % X, %v; want %s", c.value, c.p.Type, r.append(nil), err, c.want)
		}
	}
	for _, c := range []struct {
		p     Point
		value float64
	}{
		{Point{}, -1}, {Point{}, 65536}, {Point{Type: "int16"}, 32768}, {Point{Type: "int16"}, -32769},
		{Point{Type: "int16", Scale: 0.1}, 3276.8}, {Point{Type: "float32"}, 1e39},
		{Point{Type: "uint64"}, -1}, {Point{Type: "int64"}, math.Pow(2, 63)}, {Point{Type: "uint64"}, math.Pow(2, 64)},
		{Point{Type: "float64", Scale: 0.1}, math.MaxFloat64}, {Point{Type: "float32", Scale: 0.1}, -math.MaxFloat64},
	} {
		if r, err := c.p.normal().write(c.value, 0); err == nil {
			t.Errorf("%v fits %s: % X", c.value, c.p.Type, r.append(nil))
		}
	}
}

func TestPlanReadsNeighboursTogether(t *testing.T) {
	at := func(table, kind string, addresses ...int) (all []Point) {
		for _, a := range addresses {
			all = append(all, Point{Table: table, Type: kind, Address: a}.normal())
		}
		return all
	}
	for _, c := range []struct {
		name        string
		points      []Point
		first, gap  int
		most        int
		want, split string
	}{
		{"neighbours", at("holding", "", 3, 1, 2), 0, 0, 125, "holding 1+3", "holding 1+1 holding 2+2"},
		{"wide ones", at("holding", "uint32", 0, 2, 4), 0, 0, 125, "holding 0+6", ""},
		{"a gap that is too wide", at("holding", "", 1, 11), 0, 8, 125, "holding 1+1 holding 11+1", ""},
		{"a gap that is not", at("holding", "", 1, 10), 0, 8, 125, "holding 1+10", "holding 1+1 holding 10+1"},
		{"tables apart", append(at("input", "", 5), append(at("coil", "", 5), at("holding", "", 5)...)...), 0, 8, 125, "coil 5+1 holding 5+1 input 5+1", ""},
		{"the limit", at("input", "", 0, 124, 125), 0, 125, 125, "input 0+125 input 125+1", ""},
		{"a limit of one's own", at("input", "", 0, 1, 2, 3, 4), 0, 8, 2, "input 0+2 input 2+2 input 4+1", ""},
		{"bits have another limit", at("coil", "", 0, 100, 200, 1999, 2000), 0, 1800, 125, "coil 0+2000 coil 2000+1", ""},
		{"overlapping", append(at("holding", "uint32", 1), at("holding", "", 1, 2, 3)...), 0, 0, 125, "holding 1+3", ""},
		{"counted from 1", at("holding", "", 1, 2), 1, 0, 125, "holding 0+2", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []int
			for i := range c.points {
				all = append(all, i)
			}
			spans := plan(c.points, all, c.first, c.gap, c.most)
			if got := show(spans); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if c.split != "" {
				if got := show(spans[0].split(c.points, c.first)); got != c.split {
					t.Errorf("split into %s, want %s", got, c.split)
				}
			}
			n := 0
			for _, s := range spans {
				n += len(s.points)
				for _, i := range s.points {
					if p := c.points[i]; p.Address-c.first < s.at || p.Address-c.first+p.width() > s.at+s.count || p.Table != s.table {
						t.Errorf("%+v is not in %+v", p, s)
					}
				}
			}
			if n != len(c.points) {
				t.Errorf("%d of %d points", n, len(c.points))
			}
		})
	}
}

func show(spans []span) string {
	var parts []string
	for _, s := range spans {
		parts = append(parts, fmt.Sprintf("%s %d+%d", s.table, s.at, s.count))
	}
	return strings.Join(parts, " ")
}
