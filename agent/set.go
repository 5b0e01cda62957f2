package agent

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// A pod that asks for consistency has its containers checkpointed in one pause:
// the checkpoints are a set, each of which names all. What belongs to a set is
// written into its members before any of them is committed, so that one that is
// not complete can be told from one that is.

// inSandbox returns the managed containers of a sandbox that have not ended,
// sorted by name. One of them may not have started yet.
func (a *Agent) inSandbox(sandbox string) []*tracked {
	a.mu.Lock()
	var found []*tracked
	for _, t := range a.containers {
		if t.Sandbox == sandbox {
			found = append(found, t)
		}
	}
	a.mu.Unlock()
	found = slices.DeleteFunc(found, func(t *tracked) bool { return t.exit() != nil })
	slices.SortFunc(found, func(x, y *tracked) int { return cmp.Compare(x.Name, y.Name) })
	return found
}

// together returns what is checkpointed when a trigger fires for a container:
// itself, and after it the others of its pod that run, if it asks for that.
func (a *Agent) together(t *tracked) []*tracked {
	set := []*tracked{t}
	if !t.consistent() {
		return set
	}
	for _, other := range a.inSandbox(t.Sandbox) {
		if other != t && other.running() != 0 {
			set = append(set, other)
		}
	}
	return set
}

// consistent tells whether the container is checkpointed and restored with the
// others of its pod.
func (t *tracked) consistent() bool { return t.policy.Consistency == policy.ConsistencyPod }

// sleeper says that a container of the pod sleeps, so that there cannot be a set
// of all; nil when none does.
func (a *Agent) sleeper(t *tracked) error {
	for _, other := range a.inSandbox(t.Sandbox) {
		if other.asleep() {
			return &skip{class: ClassSet, reason: "container " + other.Name + " of the pod sleeps"}
		}
	}
	return nil
}

// membersOf names the checkpoints of a set in the making.
func membersOf(drafts []*draft) []store.Member {
	var members []store.Member
	for _, d := range drafts {
		members = append(members, store.Member{Container: d.Name, ID: d.staging.ID()})
	}
	slices.SortFunc(members, func(x, y store.Member) int { return cmp.Compare(x.Container, y.Container) })
	return members
}

// setOf returns the id that stands for the set of a checkpoint: the first of its
// members'; empty when it is of none.
func setOf(m store.Manifest) string {
	if len(m.Set) == 0 {
		return ""
	}
	return slices.MinFunc(m.Set, func(x, y store.Member) int { return cmp.Compare(x.ID, y.ID) }).ID
}

// inSet says in words with whom a checkpoint was made.
func inSet(m store.Manifest) string {
	if len(m.Set) < 2 {
		return ""
	}
	return fmt.Sprintf("; one of %d of set %s", len(m.Set), setOf(m))
}

// ofSet says of which container of several an error is.
func ofSet(set []*tracked, t *tracked, err error) error {
	if len(set) == 1 {
		return err
	}
	return fmt.Errorf("container %s of the pod: %w", t.Name, err)
}
