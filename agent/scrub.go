package agent

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/store"
)

// scrubEvery is the pause between two looks for checkpoints to verify again.
const scrubEvery = time.Minute

// trusted tells whether a restore may go without reading all of a checkpoint.
func (a *Agent) trusted(c *store.Checkpoint) bool {
	if a.Config().Store.Verify != conf.VerifyScrubbed {
		return false
	}
	at, err := a.store.Verified(a.ctx, *c)
	return err == nil && !at.IsZero()
}

// ScrubAlways verifies, one after the other and slowly, the checkpoints that
// have not been verified for long, until ctx ends. It begins when the runtime
// has told which pods live, because restores come first then.
func (a *Agent) ScrubAlways(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-a.synchronized:
	}
	for {
		a.scrub(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-time.After(scrubEvery):
		}
	}
}

// scrub verifies what is due, that which has waited longest first.
func (a *Agent) scrub(ctx context.Context, now time.Time) {
	type due struct {
		checkpoint store.Checkpoint
		verified   time.Time
	}
	every := a.Config().Store.ScrubEvery.Duration
	if every == 0 {
		return
	}
	all, err := a.store.All(ctx)
	if err != nil {
		log.G(ctx).WithError(err).Warn("list checkpoints to scrub")
		return
	}
	var list []due
	for _, c := range all {
		at, err := a.store.Verified(ctx, c)
		if err == nil && now.Sub(at) < every {
			continue
		}
		list = append(list, due{c, at})
	}
	slices.SortStableFunc(list, func(x, y due) int { return cmp.Compare(x.verified.UnixNano(), y.verified.UnixNano()) })
	for _, d := range list {
		if ctx.Err() != nil {
			return
		}
		a.scrubOne(ctx, d.checkpoint)
	}
}

func (a *Agent) scrubOne(ctx context.Context, c store.Checkpoint) {
	err := a.store.Scrub(ctx, c, int64(a.Config().Store.ScrubRate))
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, store.ErrNotFound):
	case errors.Is(err, store.ErrCorrupt):
		f := Facts{Namespace: c.Namespace, Pod: c.PodName, Name: c.Container}
		a.quarantine(f, c.ID, "found while it lay: "+err.Error(), ClassDamaged)
	default:
		log.G(ctx).WithError(err).WithField("checkpoint", c.ID).Warn("scrub checkpoint")
	}
}
