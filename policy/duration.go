package policy

import (
	"errors"
	"math"
	"regexp"
	"strings"
	"time"
)

var (
	errDuration = errors.New(`is not a duration; write a number and a unit, such as "30s" or "5m"`)
	errPositive = errors.New("is not longer than zero")
)

// durationForm is that of [time.ParseDuration] without signs and without units
// too small to mean anything here.
var durationForm = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ms|h|m|s))+$`)

// parseDuration reads a positive duration. One too large for the type becomes
// the largest, so that it is cut down to the bound like any other that is too
// large.
func parseDuration(value string) (time.Duration, error) {
	value = strings.Trim(value, " \t")
	if len(value) > maxShown || !durationForm.MatchString(value) {
		return 0, errDuration
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		return math.MaxInt64, nil
	}
	if d <= 0 {
		return 0, errPositive
	}
	return d, nil
}
