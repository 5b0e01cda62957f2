package agent

import (
	"context"
	"errors"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// retire removes the checkpoints that a new one has made superfluous. Under a
// lineage that pods share each pod keeps its own; of pods that are gone the
// newest few keep theirs for a successor.
func (a *Agent) retire(ctx context.Context, t *tracked) {
	if !t.settled.Load() {
		// What the container was restored from may be needed once more.
		return
	}
	list, err := a.store.List(t.lineage)
	if err != nil {
		log.G(ctx).WithError(err).Warn("list checkpoints to retire")
		return
	}
	starts, list := ofReady(list)
	if _, err := a.store.Retain(ctx, starts, startsKept); err != nil {
		log.G(ctx).WithError(err).Warn("retire checkpoints of the ready trigger")
	}
	owned, gone := grouped(list, a.ownerIn(t.lineage))
	for _, group := range owned {
		if _, err := a.store.Retain(ctx, group, t.policy.Keep); err != nil {
			log.G(ctx).WithError(err).Warn("retire checkpoints")
		}
	}
	for _, c := range gone[min(len(gone), a.Config().Bounds.KeepMax):] {
		if err := a.store.Remove(ctx, c.ID); err != nil && !errors.Is(err, store.ErrInUse) {
			log.G(ctx).WithError(err).WithField("checkpoint", c.ID).Warn("retire checkpoint of a pod that is gone")
		}
	}
}

// owner is whom a checkpoint is kept for.
type owner struct {
	sandbox string
	lives   bool
	// stop is set for checkpoints which a living pod made while a container of
	// it was stopped. They are not for itself, so they must not take the place
	// of those that are.
	stop bool
}

// grouped divides a list with the newest first by owner, and returns apart the
// checkpoints whose owner is gone.
func grouped(list []store.Checkpoint, ownerOf func(store.Checkpoint) owner) (owned map[owner][]store.Checkpoint, gone []store.Checkpoint) {
	owned = map[owner][]store.Checkpoint{}
	for _, c := range list {
		o := ownerOf(c)
		if !o.lives {
			gone = append(gone, c)
			continue
		}
		owned[o] = append(owned[o], c)
	}
	return owned, gone
}

// ownerIn tells to whom checkpoints of a lineage belong: to the sandbox that
// claimed one, else to the one it was taken from. Where only one pod at a time
// can have the lineage, all belong to it.
func (a *Agent) ownerIn(l store.Lineage) func(store.Checkpoint) owner {
	return func(c store.Checkpoint) owner {
		sandbox := c.SandboxID
		stop := c.Trigger == string(policy.Stop) && a.sandboxLives(sandbox)
		if !shared(l) {
			return owner{lives: true, stop: stop}
		}
		if m, err := a.store.Marks(c.ID); err == nil && m.ClaimedBy != "" {
			sandbox = m.ClaimedBy
		}
		return owner{sandbox: sandbox, lives: a.sandboxLives(sandbox), stop: stop}
	}
}

// sleepsIn tells whether a container sleeps in the checkpoint, or is about to.
func (a *Agent) sleepsIn(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.containers {
		if t.sleepsIn(id) {
			return true
		}
	}
	return false
}
