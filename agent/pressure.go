package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/policy"
)

const (
	// pressurePoll is how often a container's memory is looked at.
	pressurePoll = 500 * time.Millisecond
	// pressureRetry is when a dump that failed is tried again, for the first time.
	pressureRetry = 2 * time.Second
	// restoreRoom is what must be left of the memory limit, in bytes: a restore
	// runs inside it, and a checkpoint that cannot be restored is of no use.
	restoreRoom = 8 << 20
)

// pressure tells when a container's memory calls for a checkpoint.
type pressure struct {
	// next is the earliest time for another.
	next time.Time
	// used is what the memory was at the last, or when the container was
	// restored, and before what it was at the one before that; 0 when it has been
	// below the level since.
	used, before int64
}

// due tells whether the memory is close to its limit and rises: it is at that
// level, in percent, and a twentieth of the limit above what it was the last
// time. So what fills the memory is in a few checkpoints at most, and none is due
// of a container that was restored from one until it has gone further than that.
// More than once in an interval is never due.
func (p *pressure) due(used, limit int64, level int, interval time.Duration, now time.Time) bool {
	if limit == 0 || used < limit/100*int64(level) {
		p.used = 0
		return false
	}
	if p.used > 0 && used < p.used+limit/20 || now.Before(p.next) {
		return false
	}
	p.next, p.before, p.used = now.Add(interval), p.used, used
	return true
}

// again takes back that it was due, for it has come to nothing, but not before
// that time.
func (p *pressure) again(next time.Time) {
	p.used = p.before
	if next.Before(p.next) {
		p.next = next
	}
}

// watchMemory fires the pressure trigger for one container until ctx ends.
func (a *Agent) watchMemory(ctx context.Context, t *tracked) {
	tick := time.NewTicker(pressurePoll)
	defer tick.Stop()
	var p pressure
	if t.RestoredFrom != "" {
		p.used, _, _ = criu.Memory(t.running())
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// A container that ends meanwhile has no memory to read.
		used, limit, err := criu.Memory(t.running())
		if err != nil || !p.due(used, limit, a.Config().Limits.Pressure, t.policy.Interval, time.Now()) {
			continue
		}
		if s := a.tooLate(t, used, limit); s != nil {
			a.decide(t.Facts, Decision{
				Action: ActionCheckpoint, Outcome: Skipped, Trigger: policy.Pressure, Reason: s.reason, Class: s.class,
			})
			if s.wait > 0 {
				p.again(time.Now().Add(s.wait))
			}
			continue
		}
		_, err = a.Checkpoint(ctx, t.ID, policy.Pressure, fmt.Sprintf("its memory is at %d of %d MiB", used>>20, limit>>20))
		if err != nil {
			p.again(time.Now().Add(backOff(pressureRetry, t.failedTimes())))
		}
	}
}

// tooLate says why a checkpoint would not help a container that is about to run
// out of memory; nil when it may.
func (a *Agent) tooLate(t *tracked, used, limit int64) *skip {
	switch {
	case !t.settled.Load():
		return &skip{
			class: ClassUnsettled, reason: "the restored container has not settled yet",
			wait: a.Config().Limits.Settle.Duration,
		}
	case limit-used < restoreRoom:
		return &skip{class: ClassMemory, reason: fmt.Sprintf(
			"its memory is too close to the limit for a restore: %d MiB are left, %d are needed", (limit-used)>>20, restoreRoom>>20)}
	}
	return nil
}
