package serial

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"edgegateway/drivers"
)

// A decoder turns a line into values. One that the line names, and says nothing of, is
// nil; so is one that cannot be, and the error says why. Any other error is that of the
// whole line, which then has no values.
type decoder func(line []byte) ([]drivers.Value, error)

const (
	mostValues = 64 // of one line
	mostDepth  = 4  // of objects in objects
)

func newDecoder(o LineOptions) decoder {
	var parse decoder
	read := scalar
	if o.Decimal == "," {
		read = commaScalar
	}
	switch o.Format {
	case "kv":
		between := " \t,;&"
		if o.Decimal == "," {
			between = " \t;&"
		}
		parse = func(line []byte) ([]drivers.Value, error) { return parsePairs(line, between, read) }
	case "csv":
		mixed := regexp.MustCompile(decimalComma)
		parse = func(line []byte) ([]drivers.Value, error) {
			if part := mixed.Find(line); part != nil && o.Separator == "," {
				return nil, fmt.Errorf("%q looks like a number with a comma; are separator = \";\" and decimal = \",\" meant?", bytes.Trim(part, ";,\t "))
			}
			return parseColumns(line, o.Separator, o.Columns, read)
		}
	case "regex":
		pattern := regexp.MustCompile(o.Pattern) // Validate has compiled it
		parse = func(line []byte) ([]drivers.Value, error) { return parsePattern(line, pattern, read) }
	default:
		parse = parseJSON
	}
	return func(line []byte) ([]drivers.Value, error) {
		if !utf8.Valid(line) || slices.ContainsFunc(line, func(c byte) bool { return c < ' ' && c != '\t' }) {
			return nil, fmt.Errorf("a line is not text; is the baud rate right? %s", excerpt(line))
		}
		values, err := parse(line)
		switch {
		case err == errNoMatch:
			return nil, fmt.Errorf("%w: %s", err, excerpt(line))
		case err != nil:
			return nil, fmt.Errorf("a line is not %s: %w: %s", o.Format, err, excerpt(line))
		case len(values) > mostValues:
			return nil, fmt.Errorf("a line has more than %d values: %s", mostValues, excerpt(line))
		}
		values, err = pick(values, o.Fields)
		if len(values) == 0 {
			return nil, fmt.Errorf("a line has none of the values that are wanted: %s", excerpt(line))
		}
		return values, err
	}
}

// pick takes the fields that are wanted and gives the values their channels. Sensors that
// send numbers also say "ERR", and some send the names of their columns.
func pick(values []drivers.Value, fields []Field) (picked []drivers.Value, err error) {
	if len(fields) == 0 {
		for i := range values {
			values[i].Channel = channelName(values[i].Channel)
		}
		return values, nil
	}
	for _, f := range fields {
		for _, v := range values {
			if v.Channel != f.From {
				continue
			}
			switch v.V.(type) {
			case string, bool:
				if f.numeric() {
					err = fmt.Errorf("channel %q: %s is not a number", f.channel(), excerpt(fmt.Append(nil, v.V)))
					v.V = nil
				}
			}
			picked = append(picked, drivers.Value{Channel: f.channel(), V: v.V})
		}
	}
	return picked, err
}

// channelName makes a name that can stand in a topic and in an identifier. The name of
// nothing, which JSON has, is an underscore.
func channelName(s string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '_'
	}, strings.TrimSpace(s))
	if name == "" {
		return "_"
	}
	return name[:min(len(name), 64)]
}

// parseJSON takes the numbers, texts and truth values of an object; those of an
// object inside it are named "outer.inner". Arrays are passed over.
func parseJSON(line []byte) ([]drivers.Value, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber() // a counter beyond 2^53 stays exact
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the object")
	}
	var values []drivers.Value
	flatten(object, "", mostDepth, &values)
	// The order of a line is lost in a map; the same line gives the same reading.
	slices.SortFunc(values, func(a, b drivers.Value) int { return strings.Compare(a.Channel, b.Channel) })
	return values, nil
}

func flatten(object map[string]any, prefix string, depth int, values *[]drivers.Value) {
	for key, v := range object {
		key = prefix + key
		switch x := v.(type) {
		case map[string]any:
			if depth > 1 {
				flatten(x, key+".", depth-1, values)
			}
		case json.Number:
			*values = append(*values, drivers.Value{Channel: key, V: scalar(x.String())})
		case bool, string, nil:
			*values = append(*values, drivers.Value{Channel: key, V: x})
		}
	}
}

// parsePairs takes key=value or key:value, between blanks, commas or semicolons. A comma
// that numbers may have stands between pairs if a blank follows.
func parsePairs(line []byte, between string, read func(string) any) ([]drivers.Value, error) {
	var values []drivers.Value
	for _, pair := range strings.FieldsFunc(string(line), func(r rune) bool { return strings.ContainsRune(between, r) }) {
		if pair = strings.TrimRight(pair, ","); pair == "" {
			continue
		}
		at := strings.IndexAny(pair, "=:")
		if at <= 0 {
			return nil, fmt.Errorf("%q is not a pair", pair)
		}
		values = append(values, drivers.Value{Channel: pair[:at], V: read(pair[at+1:])})
	}
	return values, nil
}

// decimalComma is two whole numbers with a comma between them, and a semicolon or a tab at
// their side: the 22,5 of 22,5;51. With the comma as separator 22 would be a value like any
// other.
const decimalComma = `(^|[;\t,]) *[-+]?\d+,\d+ *[;\t]|[;\t] *[-+]?\d+,\d+ *($|[;\t,])`

// parseColumns takes the columns by their order. A line with more or fewer is cut
// or of another kind.
func parseColumns(line []byte, separator string, names []string, read func(string) any) ([]drivers.Value, error) {
	cells := strings.Split(string(line), separator)
	if len(cells) != len(names) {
		return nil, fmt.Errorf("%d columns instead of %d", len(cells), len(names))
	}
	var values []drivers.Value
	for i, cell := range cells {
		if names[i] != "" {
			values = append(values, drivers.Value{Channel: names[i], V: read(cell)})
		}
	}
	return values, nil
}

var errNoMatch = errors.New("a line does not fit the pattern")

// groupsOf compiles a pattern and names its groups, each once.
func groupsOf(pattern string) ([]string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern is not a regular expression: %w", err)
	}
	var names []string
	for _, name := range re.SubexpNames() {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("pattern must have a named group for each value, like (?P<power>[0-9.]+)")
	}
	return names, nil
}

// parsePattern takes the named groups. A group that took no part in the match has
// no value; of groups with the same name the first that took part counts.
func parsePattern(line []byte, pattern *regexp.Regexp, read func(string) any) ([]drivers.Value, error) {
	at := pattern.FindSubmatchIndex(line)
	if at == nil {
		return nil, errNoMatch
	}
	var values []drivers.Value
	for i, name := range pattern.SubexpNames() {
		taken := slices.ContainsFunc(values, func(v drivers.Value) bool { return v.Channel == name })
		if name == "" || taken || at[2*i] < 0 {
			continue
		}
		values = append(values, drivers.Value{Channel: name, V: read(string(line[at[2*i]:at[2*i+1]]))})
	}
	return values, nil
}

// scalar reads a value as a person would: whole number, number, truth, text; nil is none.
func scalar(s string) any {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	// A sensor without a value sends nan; as a number it is refused further on.
	if f, err := strconv.ParseFloat(s, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return f // infinite if out of range
	}
	switch strings.ToLower(s) {
	case "true":
		return true
	case "false":
		return false
	}
	if n := len(s); n >= 2 && s[0] == '"' && s[n-1] == '"' {
		s = s[1 : n-1]
	}
	return s
}

// commaScalar is scalar where numbers have a comma. One with a point is none: 1.234 may
// be a thousand, and more.
func commaScalar(s string) any {
	pointed := strings.Contains(s, ".")
	if !pointed {
		switch v := scalar(strings.Replace(s, ",", ".", 1)).(type) {
		case int64, float64:
			return v
		}
	}
	v := scalar(s)
	if _, float := v.(float64); float && pointed {
		return strings.TrimSpace(s)
	}
	return v
}
