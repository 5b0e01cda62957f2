package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/policy"
)

// scene lets time pass for a vigil, a second at each look.
type scene struct {
	t   *testing.T
	now time.Time
	*vigil
}

func newScene(t *testing.T) *scene {
	now := time.Unix(1_700_000_000, 0)
	return &scene{t, now, newVigil(policy.Idleness{After: 10 * time.Second, StayAwake: 30 * time.Second}, now)}
}

// pass lets so many seconds pass, with these signals loud in each of them.
func (s *scene) pass(seconds int, loud ...string) {
	for range seconds {
		s.now = s.now.Add(time.Second)
		var list []seen
		for _, name := range []string{signalCPU, signalConnections} {
			is := seen{name: name, value: "some", most: "little"}
			for _, l := range loud {
				is.loud = is.loud || l == name
			}
			list = append(list, is)
		}
		s.see(s.now, list, nil)
	}
}

// in fails the test unless the container is due in so many seconds.
func (s *scene) in(seconds int, when string) {
	s.t.Helper()
	if due := s.due(); due.IsZero() || due.Sub(s.now) != time.Duration(seconds)*time.Second {
		s.t.Errorf("%s: due in %s, want %ds", when, due.Sub(s.now), seconds)
	}
}

func (s *scene) never(when string) {
	s.t.Helper()
	if due := s.due(); !due.IsZero() {
		s.t.Errorf("%s: due in %s, want never", when, due.Sub(s.now))
	}
}

func (s *scene) says(state, part string) {
	s.t.Helper()
	if got, why := s.explain(s.now); got != state || !strings.Contains(why, part) {
		s.t.Errorf("%s, %q; want %s, with %q", got, why, state, part)
	}
}

func TestVigilWantsAllSignalsQuietForTheWholeTime(t *testing.T) {
	s := newScene(t)
	s.never("before the first look")
	s.says(stateUnknown, "not looked at")
	s.pass(4)
	s.in(6, "quiet from the beginning")
	s.says(stateQuiet, "quiet for 4s only, and 10s are needed")
	s.pass(1, signalCPU)
	s.never("while it is active")
	s.says(stateActive, "not idle because of cpu: some (quiet is little)")
	s.pass(3)
	// It was active until the look before these three, or until some time after it.
	s.in(8, "quiet again")
	s.pass(2, signalConnections)
	s.pass(1)
	s.in(10, "when another signal was active")
	s.pass(10)
	s.in(0, "at last")
	s.says(stateIdle, "idle")
}

func TestVigilActsOnceAndAgainAfterActivity(t *testing.T) {
	s := newScene(t)
	s.pass(10)
	s.fired(s.now, true)
	s.pass(100)
	s.never("when all is done")
	s.says(stateIdle, "was done")
	s.pass(1, signalCPU)
	s.pass(1)
	s.in(10, "after it was active")
}

func TestVigilTriesAgainEverMoreRarely(t *testing.T) {
	s := newScene(t)
	s.pass(10)
	s.fired(s.now, false)
	s.in(20, "after a failure")
	s.says(stateIdle, "tried again in 20s")
	s.pass(20)
	s.fired(s.now, false)
	s.in(40, "after two")
	s.pass(40)
	s.fired(s.now, true)
	s.pass(1, signalCPU)
	s.pass(11)
	s.in(0, "when failures are forgotten")
}

func TestVigilStaysAwakeAfterAWake(t *testing.T) {
	s := newScene(t)
	s.awake = s.now.Add(30 * time.Second)
	s.pass(15)
	s.in(15, "quiet, but awake for half of the time")
	s.says(stateIdle, "stays awake for 15s more")
}

func TestVigilIsDampedByFlapping(t *testing.T) {
	tests := map[string]struct {
		sleeps []time.Duration
		ours   bool
		want   time.Duration
	}{
		"once":                     {[]time.Duration{time.Second}, false, 20 * time.Second},
		"three times":              {[]time.Duration{1, 2, 3}, false, 80 * time.Second},
		"but a long sleep ends it": {[]time.Duration{1, 2, time.Minute}, false, 10 * time.Second},
		"woken by us":              {[]time.Duration{1, 2, 3}, true, 10 * time.Second},
		"for ever":                 {make([]time.Duration, 100), false, time.Hour},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			for _, long := range tc.sleeps {
				s.slept(long, !tc.ours)
			}
			if got := s.window(); got != tc.want {
				t.Errorf("window=%s, want %s", got, tc.want)
			}
			s.pass(11)
			if tc.want > s.idle.After {
				s.says(stateQuiet, "longer for having been woken")
			}
		})
	}
}

func TestVigilOfAContainerThatCannotBeLookedAt(t *testing.T) {
	s := newScene(t)
	s.pass(9)
	s.now = s.now.Add(time.Second)
	s.see(s.now, nil, errors.New("the kernel says nothing"))
	s.never("while it cannot be looked at")
	s.says(stateUnknown, "the kernel says nothing")
	s.pass(1)
	s.in(9, "what was not seen does not count")
}

func TestNextLookCostsLittle(t *testing.T) {
	tests := map[string]struct{ after, cost, want time.Duration }{
		"often enough to be in time":  {10 * time.Second, 0, 2 * time.Second},
		"not for nothing":             {time.Hour, 0, 30 * time.Second},
		"a tenth of a millisecond":    {5 * time.Second, 100 * time.Microsecond, 1500 * time.Millisecond},
		"a whole one":                 {time.Minute, time.Millisecond, 15 * time.Second},
		"a dear one, and still twice": {30 * time.Second, time.Second, 15 * time.Second},
		"soon":                        {time.Second, 0, 200 * time.Millisecond},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := newVigil(policy.Idleness{After: tc.after}, time.Time{})
			if got := v.nextLook(tc.cost); got != tc.want {
				t.Errorf("after %s, want %s", got, tc.want)
			}
		})
	}
}
