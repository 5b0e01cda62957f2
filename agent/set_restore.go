package agent

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/store"
)

// The containers of a pod are created one after the other, so a set is restored
// member by member. What holds for all is looked at before the first, and none
// may join where the others have come to something else.

// heeds tells whether a checkpoint is to be restored with the others of its set,
// or not at all.
func (t *tracked) heeds(c store.Checkpoint) bool {
	return t.consistent() && len(c.Set) > 0
}

// setObjection says why a checkpoint cannot be used as one of a set; empty when
// it can, or need not. A corrupt set should never be looked at again.
func (a *Agent) setObjection(ctx context.Context, t *tracked, c store.Checkpoint, fault bool) (reason string, condemned Class) {
	switch {
	case !t.consistent():
		return "", ""
	case len(c.Set) == 0:
		return "it is of this container alone, and rekindle.dev/consistency is pod", ""
	}
	if reason := a.apart(t, c); reason != "" {
		return reason, ""
	}
	for _, m := range c.Set {
		if m.ID == c.ID {
			continue
		}
		if reason, condemned := a.memberObjection(ctx, t, c, m, fault); reason != "" {
			return fmt.Sprintf("the checkpoint of container %s in its set cannot be used: %s", m.Container, reason), condemned
		}
	}
	return "", ""
}

// memberObjection says why another member of a container's set cannot be used.
// What its container will be created with is not known yet.
func (a *Agent) memberObjection(ctx context.Context, t *tracked, c store.Checkpoint, m store.Member, fault bool) (reason string, condemned Class) {
	other, err := a.store.Get(m.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "it is gone", ""
	case err != nil:
		return err.Error(), damage(err)
	case other.Namespace != c.Namespace || other.Workload != c.Workload || other.Container != m.Container || !reflect.DeepEqual(other.Set, c.Set):
		return "it is not of this set", ""
	}
	marks, err := a.store.Marks(m.ID)
	if err != nil {
		return err.Error(), damage(err)
	}
	if reason := a.entitled(t, other, marks, fault); reason != "" {
		return reason, ""
	}
	if reason, condemned := a.spent(marks); reason != "" {
		return reason, condemned
	}
	if err := a.store.Verify(ctx, other, store.Quick); err != nil {
		return err.Error(), damage(err)
	}
	return a.undecryptable(other.Manifest), ""
}

// apart says why a container cannot join the others of its pod in a set. Each of
// the set's that lives has to have been restored from it too, and since then this
// one must not have lived: the others would have gone on without what it goes
// back to.
func (a *Agent) apart(t *tracked, c store.Checkpoint) string {
	previous := a.previous(t)
	for _, other := range a.inSandbox(t.Sandbox) {
		id := memberFor(c, other.Name)
		switch {
		case other.Name == t.Name || id == "":
		case other.RestoredFrom != id:
			return fmt.Sprintf("it is one of a set, and container %s of it lives and is not restored from it", other.Name)
		case previous != nil && goneOn(previous, other):
			return fmt.Sprintf("it is one of a set, and container %s of it has gone on since it was restored", other.Name)
		}
	}
	return ""
}

// goneOn tells whether a container has lived at a time at which another of its
// pod lived too.
func goneOn(t, other *tracked) bool {
	e := t.exit()
	return e == nil || e.At.After(other.Created)
}

// memberFor returns the id of a container's checkpoint in the set of another.
func memberFor(c store.Checkpoint, container string) string {
	for _, m := range c.Set {
		if m.Container == container {
			return m.ID
		}
	}
	return ""
}

// claimSet gives the other members of a set to the pod of the container that
// claims the first, so that no two pods ever share one. after an error the set
// is claimed in part, which is undone by unclaimSet.
func (a *Agent) claimSet(t *tracked, c store.Checkpoint) error {
	if !t.heeds(c) || t.Cloned {
		return nil
	}
	return a.others(c, func(id string) error {
		return a.store.Update(id, func(m *store.Marks) error {
			m.ClaimedBy = t.Sandbox
			return nil
		})
	})
}

// unclaimSet takes that back, unless a container of the pod lives from it.
func (a *Agent) unclaimSet(t *tracked) {
	c, err := a.store.Get(t.RestoredFrom)
	if err != nil || !t.heeds(c) {
		return
	}
	for _, other := range a.inSandbox(t.Sandbox) {
		if other != t && other.RestoredFrom != "" && other.RestoredFrom == memberFor(c, other.Name) {
			return
		}
	}
	err = a.others(c, func(id string) error {
		return a.store.Update(id, func(m *store.Marks) error {
			m.ClaimedBy = t.ClaimedBefore
			return nil
		})
	})
	if err != nil {
		log.G(a.ctx).WithError(err).WithField("checkpoint", c.ID).Warn("take the claim of a set back")
	}
}

// others calls do with the id of each other member of a checkpoint's set.
func (a *Agent) others(c store.Checkpoint, do func(id string) error) error {
	var err error
	for _, m := range c.Set {
		if m.ID != c.ID {
			err = errors.Join(err, do(m.ID))
		}
	}
	return err
}

// setAside takes a checkpoint out of use for good, and with it those of its set:
// what is left of one is of no use to a pod that asks for all.
func (a *Agent) setAside(t *tracked, id, reason string, class Class) {
	c, err := a.store.Get(id)
	a.quarantine(t.Facts, id, reason, class)
	if err != nil || !t.heeds(c) {
		return
	}
	for _, m := range c.Set {
		if m.ID == id {
			continue
		}
		f := t.Facts
		f.Name, f.ID = m.Container, ""
		if _, err := a.store.Get(m.ID); !errors.Is(err, store.ErrNotFound) {
			a.quarantine(f, m.ID, fmt.Sprintf("it is of the same set as %s, the checkpoint of container %s, of which: %s", id, t.Name, reason), class)
		}
	}
}
