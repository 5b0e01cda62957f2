package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// removal is a checkpoint that is to be removed, and why.
type removal struct {
	checkpoint store.Checkpoint
	reason     string
	class      Class
}

// collection is a plan of what to remove. Nothing is removed while it is made.
type collection struct {
	agent    *Agent
	now      time.Time
	removals []removal
	// rest are those that stay so far, the newest first.
	rest []store.Checkpoint
	// spare are those of the rest that may go when room is needed, in that order;
	// nil until somebody has asked.
	spare []store.Checkpoint
	// short is set when less space is free than should be, even so.
	short bool
}

// collect plans what to remove: what nobody will be restored from, and then, in
// the order of [collection.surplus], what is over the bounds. room is how many
// bytes more are about to be written for a lineage; both may be zero.
func (a *Agent) collect(ctx context.Context, now time.Time, l store.Lineage, room int64) (*collection, error) {
	all, err := a.store.All(ctx)
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	c := &collection{agent: a, now: now}
	for _, cp := range all {
		if reason, class := a.useless(cp, now); reason != "" {
			c.removals = append(c.removals, removal{cp, reason, class})
		} else {
			c.rest = append(c.rest, cp)
		}
	}
	slices.Reverse(c.removals) // the oldest go first
	if err := c.keepQuotas(ctx, l, room); err != nil {
		return nil, err
	}
	return c, c.keepSpace(ctx, room)
}

// carryOut removes what was planned, and before that what is left of earlier
// removals, and returns what could not be.
func (a *Agent) carryOut(ctx context.Context, c *collection) []removal {
	if err := a.store.EmptyTrash(); err != nil {
		log.G(ctx).WithError(err).Warn("empty the trash")
	}
	var done []removal
	for _, r := range c.removals {
		cp := r.checkpoint
		if err := a.store.Remove(ctx, cp.ID); err != nil {
			log.G(ctx).WithError(err).WithField("checkpoint", cp.ID).Warn("remove checkpoint")
			continue
		}
		done = append(done, r)
		a.decide(Facts{Namespace: cp.Namespace, Pod: cp.PodName, Name: cp.Container}, Decision{
			Action: ActionRemove, Outcome: Taken, Reason: r.reason, Class: r.class, Checkpoint: cp.ID,
		})
	}
	return done
}

// drop plans to remove one of the rest.
func (c *collection) drop(cp store.Checkpoint, reason string, class Class) {
	c.removals = append(c.removals, removal{cp, reason, class})
	same := func(other store.Checkpoint) bool { return other.ID == cp.ID }
	c.rest = slices.DeleteFunc(c.rest, same)
	c.spare = slices.DeleteFunc(c.spare, same)
}

// surplus returns what may go when room is needed, in that order: first what has
// been superseded of pods that are gone, then what has been of those that live,
// each the oldest first. The newest good one of each container that somebody
// could be restored from stays, whatever happens, and so does what is pinned or
// in use.
func (c *collection) surplus(ctx context.Context) ([]store.Checkpoint, error) {
	if c.spare != nil {
		return c.spare, nil
	}
	lineages := map[store.Lineage][]store.Checkpoint{}
	for _, cp := range c.rest {
		lineages[cp.Lineage] = append(lineages[cp.Lineage], cp)
	}
	var gone, live []store.Checkpoint
	for l, list := range lineages {
		starts, others := ofReady(list)
		owned, orphans := grouped(others, c.agent.ownerIn(l))
		to := &gone
		if c.agent.lineageLives(l) {
			to = &live
		}
		for _, group := range owned {
			more, err := c.superseded(ctx, group)
			if err != nil {
				return nil, err
			}
			*to = append(*to, more...)
		}
		for _, group := range [][]store.Checkpoint{starts, orphans} {
			more, err := c.superseded(ctx, group)
			if err != nil {
				return nil, err
			}
			gone = append(gone, more...)
		}
	}
	c.spare = append(oldestFirst(gone), oldestFirst(live)...)
	return c.spare, nil
}

// superseded returns all of a list but the newest good one and what is not to be
// removed.
func (c *collection) superseded(ctx context.Context, list []store.Checkpoint) ([]store.Checkpoint, error) {
	good, err := c.agent.store.NewestGood(ctx, list)
	if err != nil {
		return nil, fmt.Errorf("look for the newest good checkpoint: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(list), func(cp store.Checkpoint) bool {
		return cp.ID == good || c.agent.kept(cp.ID)
	}), nil
}

// kept tells whether a checkpoint cannot be removed now.
func (a *Agent) kept(id string) bool {
	marks, err := a.store.Marks(id)
	return err == nil && marks.Pinned || a.store.InUse(id)
}

func oldestFirst(list []store.Checkpoint) []store.Checkpoint {
	slices.SortFunc(list, func(x, y store.Checkpoint) int {
		if x.ID < y.ID {
			return -1
		}
		return 1
	})
	return list
}

// useless says why nobody will be restored from a checkpoint; empty when
// somebody may be.
func (a *Agent) useless(c store.Checkpoint, now time.Time) (string, Class) {
	marks, err := a.store.Marks(c.ID)
	if err != nil || marks.Pinned || a.store.InUse(c.ID) || a.sandboxLives(c.SandboxID) || a.sandboxLives(marks.ClaimedBy) {
		return "", ""
	}
	if c.Trigger == string(policy.Ready) && a.lineageLives(c.Lineage) {
		return "", ""
	}
	age := now.Sub(c.Created)
	switch {
	case marks.Completed && age > completedFor:
		return "its container ended by itself with exit code 0", ClassExpired
	case age > a.Config().Store.MaxAge.Duration:
		return "its pod is gone, and it is older than store.max_age", ClassExpired
	}
	return "", ""
}
