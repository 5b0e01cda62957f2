package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
)

// The signals by which a container is known to be quiet or not.
const (
	signalCPU         = "cpu"
	signalConnections = "connections"
	signalDatagrams   = "datagrams"
	signalDisk        = "disk"
	signalSession     = "exec"
	signalTimer       = "timer"
)

const (
	// quietDisk is up to how many bytes a second of disk I/O a container is quiet.
	quietDisk = 64 << 10
	// longProbe is how long an exec session is open at least that is no probe, if the
	// container is not found idle sooner.
	longProbe = 10 * time.Second
	// maxWindow is what flapping can make of a shorter window.
	maxWindow = time.Hour
)

// signal is one respect in which a container is quiet or not.
type signal struct {
	name string
	// value is what was seen at the last look, and most up to what that is quiet.
	value, most string
	loud        bool
	// since is when it became quiet or loud.
	since time.Time
}

// seen is what one look at a container has shown of one signal.
type seen struct {
	name, value, most string
	loud              bool
}

// vigil watches over the idleness of one container, from its start or its last
// wake on.
type vigil struct {
	idle policy.Idleness
	// begun is when it began. Nothing is known of what was before.
	begun time.Time
	// awake is when the container may be suspended at the earliest.
	awake time.Time
	// flaps is how often in a row it was woken soon after it had been suspended.
	flaps   int
	signals []signal
	// done is set when what is to be done with an idle container was done, until
	// it is active again.
	done bool
	// held is until when nothing is tried again, and failures how often in a row
	// it has come to nothing.
	held     time.Time
	failures int
	// blind says why the container cannot be looked at; empty when it can.
	blind string
}

func newVigil(idle policy.Idleness, now time.Time) *vigil { return &vigil{idle: idle, begun: now} }

// see takes in what was seen of the time since the look before, or that nothing
// could be.
func (v *vigil) see(now time.Time, list []seen, err error) {
	v.blind = ""
	if err != nil {
		v.blind = err.Error()
		v.begun, v.signals = now, nil
		return
	}
	for _, s := range list {
		i := slices.IndexFunc(v.signals, func(k signal) bool { return k.name == s.name })
		if i < 0 {
			i = len(v.signals)
			v.signals = append(v.signals, signal{name: s.name, since: v.begun})
		}
		known := &v.signals[i]
		if s.loud != known.loud {
			known.since = now
		}
		known.value, known.most, known.loud = s.value, s.most, s.loud
		if s.loud {
			v.done = false
		}
	}
}

// loud tells whether a signal was loud at the last look.
func (v *vigil) loud(name string) bool {
	return slices.ContainsFunc(v.signals, func(s signal) bool { return s.name == name && s.loud })
}

// portrait is a copy for others to look at.
func (v *vigil) portrait() *vigil {
	p := *v
	p.signals = slices.Clone(v.signals)
	return &p
}

// window is how long the container has to be quiet: twice as long each time that
// it was woken soon after it had been suspended.
func (v *vigil) window() time.Duration {
	window := v.idle.After
	for range v.flaps {
		if window >= maxWindow/2 {
			return max(v.idle.After, maxWindow)
		}
		window *= 2
	}
	return window
}

// quietSince is since when all signals are quiet; the zero time while one is not.
func (v *vigil) quietSince() time.Time {
	since := v.begun
	for _, s := range v.signals {
		if s.loud {
			return time.Time{}
		}
		if s.since.After(since) {
			since = s.since
		}
	}
	return since
}

// due is when the container is idle, if it stays quiet; the zero time when it is
// not quiet now, or nothing is to be done any more.
func (v *vigil) due() time.Time {
	since := v.quietSince()
	if since.IsZero() || v.done || v.blind != "" || len(v.signals) == 0 {
		return time.Time{}
	}
	due := since.Add(v.window())
	for _, other := range []time.Time{v.awake, v.held} {
		if other.After(due) {
			due = other
		}
	}
	return due
}

// fired notes that the container was idle, and what came of it.
func (v *vigil) fired(now time.Time, done bool) {
	if v.done = done; done {
		v.failures = 0
		return
	}
	v.failures++
	v.held = now.Add(backOff(v.idle.After, v.failures))
}

// hold puts off what is to be done, which is no failure.
func (v *vigil) hold(until time.Time) { v.held = until }

// slept takes in that the container was suspended for that long, and woken by its
// users, or else by us.
func (v *vigil) slept(long time.Duration, byUsers bool) {
	switch {
	case !byUsers:
	case long < v.idle.After:
		v.flaps = min(v.flaps+1, 16)
	default:
		v.flaps = 0
	}
}

// State words for programs.
const (
	stateActive  = "active"
	stateQuiet   = "quiet"
	stateIdle    = "idle"
	stateUnknown = "unknown"
)

// explain says in a word and in a sentence whether the container is idle, and why
// or why not.
func (v *vigil) explain(now time.Time) (state, why string) {
	switch {
	case v.blind != "":
		return stateUnknown, "not idle because it cannot be looked at: " + v.blind
	case len(v.signals) == 0:
		return stateUnknown, "not idle because it was not looked at long enough"
	}
	var loud []string
	for _, s := range v.signals {
		if s.loud {
			loud = append(loud, fmt.Sprintf("%s: %s (quiet is %s)", s.name, s.value, s.most))
		}
	}
	if len(loud) > 0 {
		return stateActive, "not idle because of " + strings.Join(loud, "; ")
	}
	quiet := now.Sub(v.quietSince())
	switch due := v.due(); {
	case v.done:
		return stateIdle, "idle, and what is to be done was done; it is again when it has been active in between"
	case quiet < v.window():
		why = fmt.Sprintf("not idle because it is quiet for %s only, and %s are needed", rounded(quiet), words(v.window()))
		if v.flaps > 0 {
			why += fmt.Sprintf(" (%s, longer for having been woken %d times soon after it was suspended)", words(v.idle.After), v.flaps)
		}
		return stateQuiet, why
	case v.awake.After(now):
		return stateIdle, fmt.Sprintf("idle, but it was woken, and stays awake for %s more", rounded(v.awake.Sub(now)))
	case due.After(now):
		return stateIdle, fmt.Sprintf("idle, but what was tried came to nothing; it is tried again in %s", rounded(due.Sub(now)))
	}
	return stateIdle, "idle"
}

// describe puts it into the form of the control protocol.
func (v *vigil) describe(now time.Time) *api.IdleReport {
	r := &api.IdleReport{}
	r.State, r.Why = v.explain(now)
	if since := v.quietSince(); !since.IsZero() && len(v.signals) > 0 {
		r.QuietNs = since.UnixNano()
	}
	if due := v.due(); !due.IsZero() {
		r.DueNs = due.UnixNano()
	}
	for _, s := range v.signals {
		r.Signals = append(r.Signals, &api.Signal{
			Name: s.name, Value: s.value, Threshold: s.most, Quiet: !s.loud, SinceNs: s.since.UnixNano(),
		})
	}
	return r
}

func rounded(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

func words(d time.Duration) string { return conf.Duration{Duration: d}.String() }
