package agent

import (
	"context"
	"errors"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/store"
)

const (
	// packEvery is how long what could not be packed, because it was in use, is
	// left alone.
	packEvery = time.Minute
	// packDelay is how long after a checkpoint the packing begins, when whoever
	// waits for it is through with it.
	packDelay = 2 * time.Second
	// packOlder is how many older checkpoints share with the newest one.
	packOlder = 10
)

// unpacked are the lineages in which something can be packed since the last look.
type unpacked struct {
	mu   sync.Mutex
	due  map[store.Lineage]bool
	kick chan struct{}
}

func newUnpacked() *unpacked {
	return &unpacked{due: map[store.Lineage]bool{}, kick: make(chan struct{}, 1)}
}

func (u *unpacked) add(l store.Lineage) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.due[l] = true
	select {
	case u.kick <- struct{}{}:
	default: // the worker will see it
	}
}

// take returns any of them.
func (u *unpacked) take() (l store.Lineage, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for l := range u.due {
		delete(u.due, l)
		return l, true
	}
	return l, false
}

// packer saves space in the store, one checkpoint after the other and slowly:
// pages of zeroes become holes, and what older checkpoints have in common with
// the newest one of their lineage is kept once. The older ones give up their
// places, so that the newest stays in one piece, and in the page cache.
type packer struct {
	*Agent
	// packed is what was done with each checkpoint of a lineage.
	packed map[store.Lineage]map[string]packed
	// cannot names what the filesystem cannot do.
	cannot map[string]bool
	// inUse are lineages in which something was in use.
	inUse map[store.Lineage]bool
}

// packed is what was done with one checkpoint: what is written of it in zeroes was
// punched, and it shares with another what they have in common.
type packed struct {
	punched bool
	with    string
}

// PackAlways saves space until ctx ends. It begins when the runtime has told
// which pods live, because restores come first then.
func (a *Agent) PackAlways(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-a.synchronized:
	}
	p := &packer{a, map[store.Lineage]map[string]packed{}, map[string]bool{}, map[store.Lineage]bool{}}
	all, err := a.store.All(ctx)
	if err != nil {
		log.G(ctx).WithError(err).Warn("list checkpoints to pack")
	}
	for _, c := range all {
		a.unpacked.add(c.Lineage)
	}
	again := time.NewTicker(packEvery)
	defer again.Stop()
	for {
		for p.rate() > 0 && ctx.Err() == nil && p.next(ctx) {
		}
		select {
		case <-ctx.Done():
			return
		case <-a.unpacked.kick:
			select {
			case <-ctx.Done():
				return
			case <-time.After(packDelay):
			}
		case <-again.C:
			for l := range p.inUse {
				a.unpacked.add(l)
			}
			clear(p.inUse)
		}
	}
}

// next packs one lineage, if one is due.
func (p *packer) next(ctx context.Context) bool {
	l, ok := p.unpacked.take()
	if ok {
		p.lineage(ctx, l)
	}
	return ok
}

// lineage packs the checkpoints of one, the newest first.
func (p *packer) lineage(ctx context.Context, l store.Lineage) {
	list, err := p.store.List(l)
	if err != nil {
		log.G(ctx).WithError(err).Warn("list checkpoints to pack")
		return
	}
	// Of what is encrypted nothing is like anything else.
	list = slices.DeleteFunc(list, func(c store.Checkpoint) bool { return c.Encryption != nil })
	before, now := p.packed[l], map[string]packed{}
	delete(p.packed, l)
	for i, c := range list[:min(len(list), packOlder+1)] {
		if p.store.InUse(c.ID) { // whoever needs it needs the disk
			now[c.ID] = before[c.ID]
			p.inUse[l] = true
			continue
		}
		now[c.ID] = p.one(ctx, c, list[0], i > 0, before[c.ID])
	}
	if len(now) > 0 {
		p.packed[l] = now
	}
}

func (p *packer) rate() int64 { return int64(p.Config().Store.PackRate) }

// one packs one checkpoint, as far as that was not done before. What fails is
// not tried again until there is a newer one.
func (p *packer) one(ctx context.Context, c, newest store.Checkpoint, older bool, done packed) packed {
	if c.Encryption != nil {
		return done // nothing in it is zero, and nothing is there twice
	}
	if !done.punched && !p.cannot["holes"] {
		n, err := p.store.Punch(ctx, c, p.rate())
		p.told(ctx, c, "holes", n, err)
		done.punched = true
	}
	if older && newest.Encryption == nil && done.with != newest.ID && !p.cannot["sharing"] {
		n, err := p.share(ctx, newest, c)
		p.told(ctx, c, "sharing", n, err)
		done.with = newest.ID
	}
	return done
}

// share finds the same memory by its address: where it lies in the images differs
// from dump to dump.
func (p *packer) share(ctx context.Context, newer, older store.Checkpoint) (int64, error) {
	runs, err := criu.MemoryRuns(path.Join(newer.Dir(), store.CRIUDir))
	if err != nil {
		return 0, err
	}
	others, err := criu.MemoryRuns(path.Join(older.Dir(), store.CRIUDir))
	if err != nil {
		return 0, err
	}
	var twins []store.Twin
	for _, t := range criu.Twins(runs, others) {
		twins = append(twins, store.Twin{
			File: path.Join(store.CRIUDir, t.File), At: t.Offset,
			OlderFile: path.Join(store.CRIUDir, t.OtherFile), OlderAt: t.OtherOffset, Length: t.Length,
		})
	}
	return p.store.Share(ctx, newer, older, slices.Clip(twins), p.rate())
}

// told accounts for what was saved, and for what was not.
func (p *packer) told(ctx context.Context, c store.Checkpoint, how string, saved int64, err error) {
	p.metrics.packed(how, saved)
	entry := log.G(ctx).WithField("checkpoint", c.ID)
	switch {
	case err == nil:
		entry.Debugf("%d bytes saved by %s", saved, how)
	case errors.Is(err, store.ErrUnsupported):
		p.cannot[how] = true
		entry.WithError(err).Infof("no space is saved by %s", how)
	case ctx.Err() != nil, errors.Is(err, store.ErrNotFound):
	default:
		entry.WithError(err).Warnf("save space by %s", how)
	}
}
