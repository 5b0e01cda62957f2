package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/store"
)

// errQuota is returned when checkpoints may take no more room, and none of those
// that are there may be removed for a new one.
var errQuota = errors.New("the quota is used up")

// bound is one of the quotas: how much some of the checkpoints may be.
type bound struct {
	// key is that of the configuration.
	key   string
	bytes int64
	count int
	// of tells which checkpoints count.
	of func(store.Lineage) bool
}

// bounds are those that a checkpoint of a lineage counts for.
func bounds(q conf.Quota, l store.Lineage) []bound {
	return []bound{
		{"quota.container_bytes", int64(q.ContainerBytes), 0, func(o store.Lineage) bool { return o == l }},
		{"quota.namespace_bytes", int64(q.NamespaceBytes), 0, func(o store.Lineage) bool { return o.Namespace == l.Namespace }},
		{"quota.namespace_count", 0, q.NamespaceCount, func(o store.Lineage) bool { return o.Namespace == l.Namespace }},
		{"quota.node_bytes", int64(q.NodeBytes), 0, func(store.Lineage) bool { return true }},
		{"quota.node_count", 0, q.NodeCount, func(store.Lineage) bool { return true }},
	}
}

// used sums up what counts for a bound.
func (b bound) used(list []store.Checkpoint) (bytes int64, count int) {
	for _, c := range list {
		if b.of(c.Lineage) {
			bytes += c.Bytes
			count++
		}
	}
	return bytes, count
}

// exceeded tells whether so much is too much.
func (b bound) exceeded(bytes int64, count int) bool {
	return b.bytes > 0 && bytes > b.bytes || b.count > 0 && count > b.count
}

// keepQuotas plans to remove what is over the quotas, with one checkpoint more of
// a lineage if there is one to come. What may not be removed for it stays.
func (c *collection) keepQuotas(ctx context.Context, next store.Lineage, room int64) error {
	lineages := map[store.Lineage]bool{}
	for _, cp := range c.rest {
		lineages[cp.Lineage] = true
	}
	if !next.IsZero() {
		lineages = map[store.Lineage]bool{next: true}
	}
	for l := range lineages {
		for _, b := range bounds(c.agent.Config().Quota, l) {
			if err := c.keep(ctx, b, next, room); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *collection) keep(ctx context.Context, b bound, next store.Lineage, room int64) error {
	more := 0
	if !next.IsZero() {
		more = 1
	}
	for {
		bytes, count := b.used(c.rest)
		if !b.exceeded(bytes+room, count+more) {
			return nil
		}
		spare, err := c.surplus(ctx)
		if err != nil {
			return err
		}
		found := false
		for _, cp := range spare {
			if found = b.of(cp.Lineage); found {
				c.drop(cp, "there is more than "+b.key+" allows", ClassQuota)
				break
			}
		}
		if !found {
			return nil
		}
	}
}

// keepSpace plans to remove what must go for the free space to be store.min_free
// after so many bytes more.
func (c *collection) keepSpace(ctx context.Context, room int64) error {
	space, err := c.agent.store.Space()
	if err != nil {
		return err
	}
	if space.Free-room >= int64(c.agent.Config().Store.MinFree) {
		return nil
	}
	taken, err := c.taken(ctx)
	if err != nil {
		return err
	}
	free := space.Free - room
	for _, r := range c.removals {
		free += taken[r.checkpoint.ID]
	}
	for free < int64(c.agent.Config().Store.MinFree) {
		spare, err := c.surplus(ctx)
		if err != nil {
			return err
		}
		if len(spare) == 0 {
			c.short = true
			return nil
		}
		free += taken[spare[0].ID]
		c.drop(spare[0], "less than store.min_free is free", ClassSpace)
	}
	return nil
}

// taken returns how much of the disk each checkpoint gives back when it goes.
func (c *collection) taken(ctx context.Context) (map[string]int64, error) {
	all := slices.Clone(c.rest)
	for _, r := range c.removals {
		all = append(all, r.checkpoint)
	}
	return c.agent.store.Usage(ctx, all)
}

// makeRoom sees to it that a checkpoint of so many bytes may be made, before the
// container is frozen for it.
func (a *Agent) makeRoom(ctx context.Context, l store.Lineage, need int64) error {
	if a.roomy(need) {
		return nil
	}
	c, err := a.collect(ctx, time.Now(), l, need)
	if err != nil {
		return err
	}
	for _, b := range bounds(a.Config().Quota, l) {
		if bytes, count := b.used(c.rest); b.exceeded(bytes+need, count+1) {
			return fmt.Errorf("%w: %s: there are %d checkpoints of %d bytes, and this one needs about %d bytes",
				errQuota, b.key, count, bytes, need)
		}
	}
	if !c.short { // else it would be removed for nothing
		a.carryOut(ctx, c)
	}
	return nil
}

// roomy tells, without reading any manifest, that no bound can be in the way of a
// checkpoint of so many bytes.
func (a *Agent) roomy(need int64) bool {
	cfg := a.Config()
	q := cfg.Quota
	kept, _, err := a.store.Count()
	if err != nil || q.ContainerBytes+q.NamespaceBytes+q.NodeBytes > 0 {
		return false
	}
	for _, most := range []int{q.NamespaceCount, q.NodeCount} {
		if most > 0 && kept >= most {
			return false
		}
	}
	space, err := a.store.Space()
	return err == nil && space.Free-need >= int64(cfg.Store.MinFree)
}
