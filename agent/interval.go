package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// maxBackOff bounds the time between two tries of a dump that fails, unless the
// interval itself is longer.
const maxBackOff = 10 * time.Minute

// every fires the interval trigger for one container until ctx ends.
func (a *Agent) every(ctx context.Context, t *tracked) {
	pause, why := t.pace()
	for {
		t.plan(time.Now().Add(pause), why)
		select {
		case <-ctx.Done():
			return
		case <-t.recovered:
			// Another trigger's dump was good, and there is no reason to hold back; or
			// it was checkpointed, or could not be, because another of its pod was.
			pause, why = t.pace()
		case <-time.After(pause):
			pause, why = a.fire(ctx, t)
		}
	}
}

// fire makes a checkpoint, if there is reason to, and returns when to try again
// and why then. The outcome, good or bad, is a decision that is kept and logged.
func (a *Agent) fire(ctx context.Context, t *tracked) (pause time.Duration, why string) {
	if s := a.spare(t); s != nil {
		a.decide(t.Facts, Decision{
			Action: ActionCheckpoint, Outcome: Skipped, Trigger: policy.Interval, Reason: s.reason, Class: s.class,
		})
		return t.pace()
	}
	_, err := a.Checkpoint(ctx, t.ID, policy.Interval, "the interval has passed")
	var s *skip
	if errors.As(err, &s) && s.wait > 0 {
		// Not all who wait for the same should come back at once.
		return s.wait + time.Duration(rand.Float64()*float64(s.wait)/5), s.reason
	}
	return t.pace()
}

// spare says why the interval trigger makes no checkpoint now; nil when it does.
func (a *Agent) spare(t *tracked) *skip {
	set := a.together(t)
	for _, t := range set {
		if !t.settled.Load() {
			// What brings a container down again soon after a restore may be in
			// its memory; a checkpoint of it would be newer than the sound ones
			// and be restored before them, for ever.
			return &skip{class: ClassUnsettled, reason: "the restored container has not settled yet"}
		}
	}
	var s *skip
	for _, t := range set {
		// Without a reading (0) nothing can be told from it.
		used, _ := criu.CPUTime(t.running())
		if s = a.needless(t, used); s == nil {
			return nil
		}
	}
	return s
}

// pace returns when the interval trigger is due, and why then: after the
// interval, or later when the last dumps have failed.
func (t *tracked) pace() (time.Duration, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failures == 0 {
		return jitter(t.policy.Interval), "the interval"
	}
	return jitter(backOff(t.policy.Interval, t.failures)),
		fmt.Sprintf("backing off after %d failures in a row, the last: %s", t.failures, t.failure)
}

// backOff doubles the interval with every failure.
func backOff(interval time.Duration, failures int) time.Duration {
	limit := max(interval, maxBackOff)
	for range failures {
		if interval *= 2; interval >= limit {
			return limit
		}
	}
	return interval
}

// failed counts a dump that failed.
func (t *tracked) failed(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures++
	t.failure = reason
}

// failedTimes returns how many dumps have failed in a row.
func (t *tracked) failedTimes() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failures
}

// succeeded notes a durable checkpoint, and ends a back-off. used is what
// [tracked.goingOn] has found.
func (t *tracked) succeeded(c store.Checkpoint, used time.Duration) {
	if sharesMemory(c.Manifest) {
		used = 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.made, t.last, t.asked = time.Now(), standstill{c.ID, used}, 0
	if t.failures == 0 {
		return
	}
	t.failures = 0
	t.countAnew()
}

// countAnew has the interval begin again.
func (t *tracked) countAnew() {
	select {
	case t.recovered <- struct{}{}:
	default:
	}
}

// jitter spreads a period by a tenth to both sides, so that containers which
// started together are not frozen together for ever.
func jitter(period time.Duration) time.Duration {
	return time.Duration(float64(period) * (0.9 + 0.2*rand.Float64()))
}
