package agent

import (
	"context"
	"slices"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/policy"
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

// prune removes what nobody will be restored from: checkpoints of completed
// runs, those of pods that have been gone for long, and, while space is short,
// the oldest of pods that are gone. What belongs to a living pod stays. Logs go
// when they are as old as checkpoints may be.
func (a *Agent) prune(ctx context.Context, now time.Time) {
	all, err := a.store.All(ctx)
	if err != nil {
		log.G(ctx).WithError(err).Warn("list checkpoints to prune")
		return
	}
	if err := a.store.ExpireLogs(now.Add(-a.Config().Store.MaxAge.Duration)); err != nil {
		log.G(ctx).WithError(err).Warn("prune logs")
	}
	slices.Reverse(all)
	for _, c := range all {
		reason, class := a.useless(c, now)
		if reason == "" {
			continue
		}
		if err := a.store.Remove(ctx, c.ID); err != nil {
			log.G(ctx).WithError(err).WithField("checkpoint", c.ID).Warn("prune checkpoint")
			continue
		}
		a.decide(Facts{Namespace: c.Namespace, Pod: c.PodName, Name: c.Container}, Decision{
			Action: ActionRemove, Outcome: Taken, Reason: reason, Class: class, Checkpoint: c.ID,
		})
	}
}

// useless says why a checkpoint may be removed; empty when it may not.
func (a *Agent) useless(c store.Checkpoint, now time.Time) (string, Class) {
	marks, err := a.store.Marks(c.ID)
	if err != nil || a.store.InUse(c.ID) || a.sandboxLives(c.SandboxID) || a.sandboxLives(marks.ClaimedBy) {
		return "", ""
	}
	if c.Trigger == string(policy.Ready) && a.lineageLives(c.Lineage) {
		return "", ""
	}
	age := now.Sub(c.Created)
	limits := a.Config().Store
	switch {
	case marks.Completed && age > completedFor:
		return "its container ended by itself with exit code 0", ClassExpired
	case age > limits.MaxAge.Duration:
		return "its pod is gone, and it is older than store.max_age", ClassExpired
	}
	if space, err := a.store.Space(); err == nil && space.Free < int64(limits.MinFree) {
		return "its pod is gone, and less than store.min_free is free", ClassSpace
	}
	return "", ""
}
