package agent

import (
	"context"
	"time"

	"github.com/rekindle-dev/rekindle/api"
)

// Why containers are woken by us, and not by who uses them.
const (
	reasonAsked   = "asked for on the command line"
	reasonWakeAt  = "the time of rekindle.dev/wake-at has come"
	reasonAtStart = "rekindled has started, and sleep.at_start is wake"
)

// ours tells whether a wake had one of those reasons.
func ours(reason string) bool {
	return reason == reasonAsked || reason == reasonWakeAt || reason == reasonAtStart
}

const (
	// wakeRetry is when a wake that failed is tried again.
	wakeRetry = 10 * time.Second
	// clockCheck is how long the wall clock is trusted not to be set.
	clockCheck = time.Minute
)

// wakeInTime wakes a container, whenever it sleeps, at the times of its schedule,
// until ctx ends. A time that passed while no daemon ran is made up for.
func (a *Agent) wakeInTime(ctx context.Context, t *tracked) {
	for {
		turned := t.sleepTurned()
		pause := clockCheck
		if at := t.wakesAt(); !at.IsZero() {
			if pause = min(pause, time.Until(at)); pause <= 0 {
				if a.Resume(ctx, t.ID, reasonWakeAt) == nil {
					continue
				}
				pause = wakeRetry
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-turned:
		case <-time.After(pause):
		}
	}
}

// wakeAtStart wakes a container that the daemon found asleep at its start, and tries
// again when that fails.
func (a *Agent) wakeAtStart(ctx context.Context, t *tracked) {
	for t.asleep() && a.Resume(ctx, t.ID, reasonAtStart) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wakeRetry):
		}
	}
}

// wakesAt returns when a container that sleeps is woken by its schedule; the zero
// time when it is not, or does not sleep.
func (t *tracked) wakesAt() time.Time {
	s := t.lastSuspension()
	if !s.Asleep {
		return time.Time{}
	}
	return t.policy.Sleep.WakeAt.Next(s.Since, wokenInTime(s))
}

// wokenInTime returns when a container was last woken by its schedule, if that was
// its last wake.
func wokenInTime(s api.Suspension) time.Time {
	if s.Wake == nil || s.Wake.Reason != reasonWakeAt || s.Wake.Error != "" {
		return time.Time{}
	}
	return s.Wake.At
}

// sleepTurned returns a channel that is closed when the container next falls asleep
// or is woken.
func (t *tracked) sleepTurned() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.turned == nil {
		t.turned = make(chan struct{})
	}
	return t.turned
}

// fellAsleep returns when the container last fell asleep, as far as this daemon has
// seen.
func (t *tracked) fellAsleep() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fell
}
