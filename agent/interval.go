package agent

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/rekindle-dev/rekindle/policy"
)

// every fires the interval trigger for one container until ctx ends.
func (a *Agent) every(ctx context.Context, t *tracked) {
	for {
		pause := jitter(t.policy.Interval)
		t.mu.Lock()
		t.next = time.Now().Add(pause)
		t.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if !t.settled.Load() {
			// What brings a container down again soon after a restore may be in
			// its memory; a checkpoint of it would be newer than the sound ones
			// and be restored before them, for ever.
			a.decide(t.Facts, Decision{
				Action: ActionCheckpoint, Outcome: Skipped, Trigger: policy.Interval, Class: ClassUnsettled,
				Reason: "the restored container has not settled yet",
			})
			continue
		}
		// The outcome, good or bad, is a decision that is kept and logged.
		_, _ = a.Checkpoint(ctx, t.ID, policy.Interval, "the interval has passed")
	}
}

// jitter spreads a period by a tenth to both sides, so that containers which
// started together are not frozen together for ever.
func jitter(period time.Duration) time.Duration {
	return time.Duration(float64(period) * (0.9 + 0.2*rand.Float64()))
}
