package conf

import (
	"errors"
	"strings"
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

// String writes d without the parts that are zero: "24h", not "24h0m0s".
func (d Duration) String() string {
	text := d.Duration.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// MarshalText writes the form that UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
