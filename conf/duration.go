package conf

import (
	"errors"
	"time"
)

// Duration is a time.Duration written as a string, such as "30s" or "1h30m".
type Duration struct{ time.Duration }

// Seconds returns n seconds.
func Seconds(n int) Duration { return Duration{time.Duration(n) * time.Second} }

var errDuration = errors.New(`is not a duration; write a number and a unit, such as "30s", "5m" or "24h"`)

// UnmarshalText parses what [time.ParseDuration] parses, without a sign.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 || text[0] == '+' || text[0] == '-' {
		return errDuration
	}
	d.Duration = v
	return nil
}

// MarshalText writes the form that UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
