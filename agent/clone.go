package agent

import (
	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// startsKept is how many checkpoints of the ready trigger are kept under one
// lineage: that of the present spec, and the one before, for who rolls back.
const startsKept = 2

// clones tells whether the container would be cloned from a checkpoint: both it
// and the pod that the checkpoint was taken from ask for that. A clone claims
// nothing, so that there can be any number of them, at the same time as their
// source; and they share its lineage, which keeps them within the namespace and
// the template.
func (t *tracked) clones(c store.Checkpoint, m store.Marks) bool {
	return t.policy.Restore == policy.RestoreClone && c.Trigger == string(policy.Ready) && m.Shared
}

// wouldClone asks the same with the marks that the checkpoint has now.
func (a *Agent) wouldClone(t *tracked, c store.Checkpoint) bool {
	m, err := a.store.Marks(c.ID)
	return err == nil && t.clones(c, m)
}

// uncloneable says why a container is not cloned from a checkpoint: each pod
// tries again only after a clone that settled, or a cold start.
func (a *Agent) uncloneable(t *tracked, c store.Checkpoint) string {
	if p := a.previous(t); p != nil && p.RestoredFrom == c.ID && p.Charged {
		return "the container before this one was cloned from it and did not settle"
	}
	return ""
}

// charge counts a clone that has ended against its checkpoint, unless it had
// settled. Clones are counted at their end: while several start at once, none
// has settled yet, and that says nothing. One that was stopped from outside is
// counted when its pod wants another container (see accuse).
func (a *Agent) charge(t *tracked, e *api.Exit) {
	settle := a.Config().Limits.Settle.Duration
	switch {
	case t.RestoredFrom == "", t.settled.Load(), e != nil && e.At.Sub(t.Created) >= settle:
		t.pardoned.Store(false)
	case e != nil && e.Asked, e == nil && t.stopping():
	default:
		a.accuse(t)
	}
}

// ofReady divides a list into the checkpoints of the ready trigger and the others.
func ofReady(list []store.Checkpoint) (starts, others []store.Checkpoint) {
	for _, c := range list {
		if c.Trigger == string(policy.Ready) {
			starts = append(starts, c)
		} else {
			others = append(others, c)
		}
	}
	return starts, others
}

// ownFirst puts what containers have come to before what they started from.
func ownFirst(list []store.Checkpoint) []store.Checkpoint {
	starts, others := ofReady(list)
	return append(others, starts...)
}

// lineageLives tells whether a container of a lineage lives, or will be created
// again in its pod.
func (a *Agent) lineageLives(l store.Lineage) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.containers {
		if t.lineage == l && !t.stopping() {
			return true
		}
	}
	return false
}
