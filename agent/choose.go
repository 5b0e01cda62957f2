package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// candidate is a checkpoint that was considered for a new container.
type candidate struct {
	checkpoint store.Checkpoint
	// reason says why it is not used; empty for a usable one.
	reason string
}

// choice is the outcome of a selection.
type choice struct {
	chosen *store.Checkpoint
	// reason says why the container starts cold, and class sorts it.
	reason string
	class  Class
	// candidates are all that were looked at, the newest first.
	candidates []candidate
	// passing is set when what is in the way may pass: the pod that a checkpoint
	// was taken from, or that would make its last one, still runs but may be on
	// its way out.
	passing bool
	// better is set while a pod of the lineage, the source of the chosen
	// checkpoint if there is one, makes its last checkpoint before it stops.
	better bool
	// clone is set when the chosen checkpoint is nobody's memory, only a start.
	clone bool
	// patient is set when the container may wait at all.
	patient bool
}

// worthWaiting tells whether the choice may turn out better in a moment.
func (c choice) worthWaiting() bool {
	return c.patient && (c.better || (c.chosen == nil || c.clone) && c.passing)
}

// choose selects the newest sound checkpoint that a container may be restored
// from. It changes nothing but that a checkpoint which should never be looked at
// again goes into quarantine: it does not verify, or its containers do not live.
func (a *Agent) choose(ctx context.Context, t *tracked) (choice, error) {
	previous := a.previous(t)
	t.Cause = causeOf(previous)
	t.AfterOOM = ranOut(previous)
	if reason := noOccasion(t.policy.Restore, previous); reason != "" {
		return choice{reason: reason, class: ClassNoOccasion}, nil
	}
	unknown := a.setBrokenAside(ctx, t)
	list, err := a.store.List(t.lineage)
	if err != nil {
		return choice{}, fmt.Errorf("list checkpoints: %w", err)
	}
	list = a.ranked(t, previous, list)
	fault := previous != nil
	result := choice{reason: noneYet, class: ClassNoneYet}
	if unknown != nil {
		result.reason, result.class = unusable(unknown.ID, unknown.Err.Error()), ClassUnusable
	}
	for _, c := range list {
		reason, condemned := a.objection(ctx, t, c, fault)
		clone := a.wouldClone(t, c)
		result.passing = result.passing || !clone && a.sourceLives(t, c)
		if condemned != "" {
			a.setAside(t, c.ID, reason, condemned)
		}
		result.candidates = append(result.candidates, candidate{c, reason})
		if reason == "" && result.chosen == nil {
			result.chosen, result.clone = &c, clone
		}
		if reason != "" && len(result.candidates) == 1 {
			result.class = ClassUnusable
			result.reason = unusable(c.ID, reason)
		}
		if result.chosen != nil {
			break
		}
	}
	result.passing = result.passing || a.stopMayCome(t)
	result.better = a.stopPending(t, result.chosen)
	result.patient = !fault && a.longestWait() > 0
	return result, nil
}

// ranked puts the checkpoints for a container into the order in which they are
// tried; previous is the container before it in the same pod, if there is one.
func (a *Agent) ranked(t, previous *tracked, list []store.Checkpoint) []store.Checkpoint {
	if t.policy.Restore == policy.RestoreClone {
		list = ownFirst(list)
	}
	if previous == nil {
		return list
	}
	return preferOlder(list, previous.exit(), a.Config().Limits.FaultMargin.Duration)
}

// previous finds the container that this one replaces in the same sandbox.
func (a *Agent) previous(t *tracked) *tracked {
	a.mu.Lock()
	defer a.mu.Unlock()
	var newest *tracked
	for _, other := range a.containers {
		if other.ID == t.ID || other.Sandbox != t.Sandbox || other.Name != t.Name || other.Created.After(t.Created) {
			continue
		}
		if newest == nil || other.Created.After(newest.Created) {
			newest = other
		}
	}
	return newest
}

// objection says why a checkpoint cannot be used for a container; it is empty
// when it can. For one that should never be looked at again condemned is the
// class of the reason.
func (a *Agent) objection(ctx context.Context, t *tracked, c store.Checkpoint, fault bool) (reason string, condemned Class) {
	m := c.Manifest
	marks, err := a.store.Marks(c.ID)
	if err != nil {
		return err.Error(), damage(err)
	}
	if reason := a.entitled(t, c, marks, fault); reason != "" {
		return reason, ""
	}
	if reason, condemned := a.spent(marks); reason != "" {
		return reason, condemned
	}
	switch {
	case m.ImageDigest != t.ImageDigest:
		return fmt.Sprintf("it is of another image (%.19s, now %.19s)", m.ImageDigest, t.ImageDigest), ""
	case m.Fingerprint != t.Fingerprint:
		return "the container's spec has changed since (command, environment, mounts, user or rlimits)", ""
	}
	if reason := a.node.objection(m); reason != "" {
		return reason, ""
	}
	if err := a.store.Verify(ctx, c, store.Quick); err != nil {
		return err.Error(), damage(err)
	}
	if reason := a.undecryptable(m); reason != "" {
		return reason, ""
	}
	return a.setObjection(ctx, t, c, fault)
}

// damage condemns what is corrupt, and nothing that could not be read just now.
func damage(err error) Class {
	if errors.Is(err, store.ErrCorrupt) {
		return ClassDamaged
	}
	return ""
}

// spent says what has happened to a checkpoint that it is not used any more.
func (a *Agent) spent(marks store.Marks) (reason string, condemned Class) {
	switch {
	case marks.Completed:
		return "its container ended by itself with exit code 0", ""
	case marks.Attempts >= a.Config().Limits.MaxRestores:
		return fmt.Sprintf("it was restored %d times and the container did not settle", marks.Attempts), ClassUnsettled
	}
	return "", ""
}

// entitled says why a checkpoint is not for this container at all.
func (a *Agent) entitled(t *tracked, c store.Checkpoint, marks store.Marks, fault bool) string {
	if t.clones(c, marks) {
		return a.uncloneable(t, c)
	}
	m := c.Manifest
	mine := m.SandboxID == t.Sandbox || marks.ClaimedBy == t.Sandbox
	if fault {
		if !mine {
			return "it is of another pod, and this pod has not been restored from it"
		}
		if marks.ClaimedBy != "" && marks.ClaimedBy != t.Sandbox {
			return "it was claimed by another pod meanwhile"
		}
		if m.Trigger == string(policy.Stop) && m.SandboxID == t.Sandbox {
			return "it was made while the container was being stopped, and is for a successor pod only"
		}
		return ""
	}
	if a.sourceLives(t, c) {
		return fmt.Sprintf("pod %s, from which it was taken, still runs", m.PodName)
	}
	if marks.ClaimedBy == "" || mine {
		return ""
	}
	if shared(t.lineage) {
		return "it was claimed by another pod of the same Deployment or Job"
	}
	if a.outlives(t, marks.ClaimedBy) {
		return "the pod that was restored from it still runs"
	}
	return ""
}

// sourceLives tells whether a checkpoint is of another pod, which still runs.
func (a *Agent) sourceLives(t *tracked, c store.Checkpoint) bool {
	return c.Manifest.SandboxID != t.Sandbox && a.outlives(t, c.Manifest.SandboxID)
}

// outlives tells whether a sandbox lives, and is not the one that the container
// is to take the place of.
func (a *Agent) outlives(t *tracked, sandbox string) bool {
	return sandbox != t.replaces && !a.supersedes(t, sandbox) && a.sandboxLives(sandbox)
}

// supersedes tells whether a sandbox is a former one of the container's own pod.
// A pod has one at a time: that there is a new one says that the other has
// ended, even if nobody was told.
func (a *Agent) supersedes(t *tracked, sandbox string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, other := range a.containers {
		if other.Sandbox == sandbox && sandbox != t.Sandbox && other.PodUID == t.PodUID && t.PodUID != "" {
			return true
		}
	}
	return false
}

// sandboxLives tells whether a sandbox has a managed container that runs, or
// ended without having been stopped and so will be created again.
func (a *Agent) sandboxLives(sandbox string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.containers {
		if t.Sandbox == sandbox && !t.stopping() {
			return true
		}
	}
	return false
}

const noneYet = "there is no checkpoint yet"

func unusable(id, reason string) string {
	return fmt.Sprintf("the newest checkpoint, %s, cannot be used: %s", id, reason)
}

// setBrokenAside puts into quarantine what has no sound manifest, so that it is
// told once why it is not used. A manifest of another version of ours is left
// to that version, and one whose key is missing waits for it; of these the
// newest is returned.
func (a *Agent) setBrokenAside(ctx context.Context, t *tracked) (unknown *store.Broken) {
	broken, err := a.store.Broken(t.lineage)
	if err != nil {
		log.G(ctx).WithError(err).Warn("look for broken checkpoints")
	}
	for _, b := range broken {
		switch {
		case errors.Is(b.Err, store.ErrCorrupt):
			a.quarantine(t.Facts, b.ID, b.Err.Error(), ClassDamaged)
		case unknown == nil:
			unknown = &b
		}
	}
	return unknown
}

// quarantine takes a checkpoint out of use for good.
func (a *Agent) quarantine(f Facts, id, reason string, class Class) {
	if err := a.store.Quarantine(id, reason); err != nil {
		reason = fmt.Sprintf("%s; it could not be moved: %v", reason, err)
	}
	a.decide(f, Decision{Action: ActionQuarantine, Outcome: Taken, Reason: reason, Class: class, Checkpoint: id})
}
