package agent

import (
	"context"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/store"
)

const (
	// pruneEvery is the pause between two looks for checkpoints nobody will use.
	pruneEvery = 10 * time.Minute
	// completedFor is how long the checkpoints of a completed run can still be
	// looked at.
	completedFor = time.Hour
)

// PruneAlways removes checkpoints of pods that are gone, from time to time,
// until ctx ends. It begins when the runtime has told which pods live.
func (a *Agent) PruneAlways(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-a.synchronized:
	}
	for {
		a.prune(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-time.After(pruneEvery):
		}
	}
}

// prune removes what nobody will be restored from: checkpoints of completed runs
// and those of pods that have been gone for long; and, while there is more than
// the quotas allow or space is short, what has been superseded. Logs go when they
// are as old as checkpoints may be.
func (a *Agent) prune(ctx context.Context, now time.Time) {
	if err := a.store.ExpireLogs(now.Add(-a.Config().Store.MaxAge.Duration)); err != nil {
		log.G(ctx).WithError(err).Warn("prune logs")
	}
	c, err := a.collect(ctx, now, store.Lineage{}, 0)
	if err != nil {
		log.G(ctx).WithError(err).Warn("look for checkpoints to prune")
		return
	}
	a.carryOut(ctx, c)
}
