package conf

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written with a binary unit: "512MiB", "1GiB".
type Size int64

// Units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

var errSize = errors.New(`is not a size; write a whole number and one of B, KiB, MiB, GiB, TiB, such as "512MiB"`)

// units is ordered so that a longer suffix is tried before "B" and String
// finds the largest fitting unit first.
var units = []struct {
	name string
	size Size
}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}}

// Bytes returns s as a plain number.
func (s Size) Bytes() int64 { return int64(s) }

// UnmarshalText parses a whole number directly followed by a unit.
func (s *Size) UnmarshalText(text []byte) error {
	for _, u := range units {
		digits, ok := strings.CutSuffix(string(text), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || n > uint64(math.MaxInt64/u.size) {
			return errSize
		}
		*s = Size(n) * u.size
		return nil
	}
	return errSize
}

// String writes s in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range units {
		if s != 0 && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return "0B"
}

// MarshalText writes the form that UnmarshalText reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
