package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/conf"
)

// limit is one end of what an annotation may ask for.
type limit[T any] struct {
	// key is that of the config file.
	key   string
	value T
}

// bounded reads the value of a key that has a default in the config file, and
// cuts it down to the limits. parse says in its error what is wrong.
func bounded[T cmp.Ordered](r *resolver, key string, shipped T, low, high limit[T], parse func(string) (T, error), format func(T) string) T {
	r.use(key, SourceConfig, source{})
	for _, s := range r.sources(key) {
		value, err := parse(s.value)
		if err != nil {
			r.problem(s, s.value, err.Error(), ignored)
			continue
		}
		kind, used := s.kind, min(max(value, low.value), high.value)
		switch {
		case value < low.value:
			r.problem(s, s.value, "is below "+low.key+" of the config file", format(used)+" is used")
			kind = SourceBound
		case value > high.value:
			r.problem(s, s.value, "is above "+high.key+" of the config file", format(used)+" is used")
			kind = SourceBound
		}
		r.use(key, kind, s)
		return used
	}
	return shipped
}

// duration reads one that is longer than zero.
func (r *resolver) duration(key string, shipped conf.Duration, low, high limit[conf.Duration]) time.Duration {
	return bounded(r, key, shipped.Duration,
		limit[time.Duration]{low.key, low.value.Duration}, limit[time.Duration]{high.key, high.value.Duration},
		parseDuration, func(d time.Duration) string { return conf.Duration{Duration: d}.String() })
}

// choose reads the value of a key that is one of a closed list.
func choose[T ~string](r *resolver, key string, from Source, shipped T, allowed []T) T {
	r.use(key, from, source{})
	for _, s := range r.sources(key) {
		value := T(strings.Trim(s.value, " \t"))
		if !slices.Contains(allowed, value) {
			r.problem(s, s.value, "is not one of "+strings.Join(words(allowed), ", "), ignored)
			continue
		}
		r.use(key, s.kind, s)
		return value
	}
	return shipped
}

// words turns a closed list into text.
func words[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

// modes turns text into a closed list.
func modes[T ~string](list []string) []T {
	out := make([]T, len(list))
	for i, v := range list {
		out[i] = T(v)
	}
	return out
}

// milliCPU writes thousandths of a processor as Kubernetes does.
func milliCPU(n int) string { return fmt.Sprintf("%dm", n) }
