package agent

import (
	"context"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
)

// watchOver starts what runs on behalf of a container, as its policy says, until ctx
// ends. Some of it goes on while the container sleeps.
func (a *Agent) watchOver(watch context.Context, t *tracked) {
	if t.RestoredFrom == "" || !a.settleTicket(t) {
		t.settled.Store(true)
	} else {
		a.workers.Go(func() { a.awaitSettled(watch, t) })
	}
	if t.policy.Has(policy.Interval) {
		a.workers.Go(func() { a.every(watch, t) })
	}
	t.warmed.Store(t.Warm)
	if t.policy.Has(policy.Ready) && t.RestoredFrom == "" && !t.Warm {
		a.workers.Go(func() { a.onceReady(watch, t) })
	}
	if t.policy.Has(policy.Pressure) {
		a.workers.Go(func() { a.watchMemory(watch, t) })
	}
	if t.policy.Has(policy.Idle) {
		a.workers.Go(func() { a.watchIdle(watch, t) })
	}
	if !t.policy.Sleep.WakeAt.IsZero() {
		a.workers.Go(func() { a.wakeInTime(watch, t) })
	}
	if t.asleep() && a.Config().Sleep.AtStart == conf.WakeAtStart {
		a.workers.Go(func() { a.wakeAtStart(watch, t) })
	}
}
