// Package strict decodes TOML into plain Go structs and points at every
// mistake: each error carries the file, the line and the column, and all of
// them come in one run. A key that no field knows is an error, with the nearest
// known key in the sentence.
//
// A struct says what it knows by tags. A field without a tag is no key.
//
//	Sync    time.Duration       `toml:"sync"`              "50ms"
//	Expiry  time.Duration       `toml:"expiry,never"`      also the word "never": the largest Duration
//	MaxSize int64               `toml:"max_size,bytes"`    "256KiB", "1MiB", or a plain number of bytes
//	TLS     *bool               `toml:"tls"`               nil when the file does not say
//	Routes  []Route             `toml:"up"`                [[up]] or up = [{...}]
//	Options func(dst any) error `toml:"options"`           kept, and decoded later by who knows the keys
//	Fault   func(key, sentence string) error `toml:",fault"` makes an error at a key of this table
//
// Fields may be strings, bools, integers and floats of any width, durations,
// types with UnmarshalText, structs, pointers, slices, maps with string keys,
// and any. Embedded structs without a tag give their keys to the outer one.
//
// Defaults are what the destination holds before decoding. Elements of a slice
// start from the value of their type among the elements given to Decode, or,
// when there is none, from their method SetDefaults, or from zero.
package strict
