package strict

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

func (d *decoder) scalar(v reflect.Value, n *node, f field, name string) {
	t := v.Type()
	switch {
	case t == durationType:
		d.duration(v, n, f, name)
	case f.bytes && t.Kind() == reflect.Int64:
		d.size(v, n, name)
	case t.Kind() == reflect.String:
		if n.kind != stringKind {
			d.wants(n, name, "a string in quotes")
			return
		}
		v.SetString(n.text)
	case t.Kind() == reflect.Bool:
		if n.kind != boolKind {
			d.wants(n, name, "true or false")
			return
		}
		v.SetBool(n.text == "true")
	case v.CanInt():
		bits := t.Bits()
		d.whole(n, name, -1<<(bits-1), 1<<(bits-1)-1, v.SetInt)
	case v.CanUint():
		highest := int64(math.MaxInt64) // TOML has no larger integers
		if bits := t.Bits(); bits < 64 {
			highest = 1<<bits - 1
		}
		d.whole(n, name, 0, highest, func(x int64) { v.SetUint(uint64(x)) })
	case v.CanFloat():
		if n.kind != floatKind && n.kind != integerKind {
			d.wants(n, name, "a number such as 0.5")
			return
		}
		x, err := float(n.text)
		if err != nil {
			d.fail(n.at, "%s %s", shown(name), err)
			return
		}
		v.SetFloat(x)
	default:
		panic(fmt.Sprintf("strict: %s has the type %s, which no TOML value fits", name, t))
	}
}

func (d *decoder) whole(n *node, name string, lowest, highest int64, set func(int64)) {
	if n.kind != integerKind {
		d.wants(n, name, "a whole number such as 10")
		return
	}
	x, err := integer(n.text)
	if err != nil || x < lowest || x > highest {
		d.fail(n.at, "%s must be between %d and %d, not %s", shown(name), lowest, highest, n.text)
		return
	}
	set(x)
}

func (d *decoder) duration(v reflect.Value, n *node, f field, name string) {
	want := `a duration such as "10s", "1m30s" or "168h"`
	if f.never {
		want += `, or "never"`
	}
	if f.never && n.kind == stringKind && n.text == "never" {
		v.SetInt(math.MaxInt64)
		return
	}
	x, err := time.ParseDuration(n.text)
	switch {
	case n.kind != stringKind || err != nil:
		d.wants(n, name, want)
	case x < 0:
		d.fail(n.at, "%s must not be negative, not %s", shown(name), quote(n.text))
	default:
		v.SetInt(int64(x))
	}
}

func (d *decoder) size(v reflect.Value, n *node, name string) {
	switch n.kind {
	case integerKind:
		d.whole(n, name, 0, math.MaxInt64, v.SetInt)
	case stringKind:
		x, err := Size(n.text)
		if err != nil {
			d.wants(n, name, `a size such as "256KiB", "1MiB" or a number of bytes`)
			return
		}
		v.SetInt(x)
	default:
		d.wants(n, name, `a size such as "256KiB", "1MiB" or a number of bytes`)
	}
}

var errNotFinite = errors.New("must be a finite number")

var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// Size reads a number of bytes with a binary unit: 64B, 256KiB, 1MiB, 2GiB,
// 1TiB. Decimal units are refused: most who write MB mean MiB, and a limit must
// not be guessed.
func Size(s string) (int64, error) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		x, err := strconv.ParseUint(strings.TrimRight(digits, " "), 10, 63)
		if err != nil || int64(x) > math.MaxInt64/u.bytes {
			break
		}
		return int64(x) * u.bytes, nil
	}
	return 0, fmt.Errorf("size %q: want a whole number with B, KiB, MiB, GiB or TiB", s)
}

// FormatSize is the inverse of Size, with the largest unit that loses nothing.
func FormatSize(n int64) string {
	for _, u := range units {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return "0B"
}

// integer reads what the parser has accepted: sign, underscores, 0x 0o 0b.
func integer(text string) (int64, error) {
	return strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 0, 64)
}

func float(text string) (float64, error) {
	if len(text) > 1 && text[0] == '0' && (text[1] == 'x' || text[1] == 'o' || text[1] == 'b') {
		x, err := integer(text)
		return float64(x), err
	}
	x, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, err
	}
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, errNotFinite
	}
	return x, nil
}
