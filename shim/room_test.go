package shim

import (
	"errors"
	"testing"

	"github.com/containerd/errdefs"
)

// What a container sleeps with is compared with limits that are to hold when it wakes.
func TestLimitsOfASleeper(t *testing.T) {
	sl := &sleep{sizes: map[string]int64{"pages-1.img": 6 << 20, "pages-2.img": 2 << 20, "core-1.img": 1 << 30}}
	tests := map[string]struct {
		limits  string
		refused bool
	}{
		"more":                  {`{"memory":{"limit":16777216}}`, false},
		"just enough":           {`{"memory":{"limit":8388608}}`, false},
		"less":                  {`{"memory":{"limit":8388607}}`, true},
		"no limit":              {`{"memory":{"limit":-1}}`, false},
		"of something else":     {`{"cpu":{"quota":1000}}`, false},
		"nothing":               {``, false},
		"not what it should be": {`{"memory":7}`, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := sl.holds([]byte(test.limits)); errors.Is(err, errdefs.ErrFailedPrecondition) != test.refused {
				t.Errorf("got %v", err)
			}
		})
	}
}
