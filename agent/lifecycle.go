package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// Started notes that a container runs, learns what became of its ticket, and
// begins to watch over it. pid is the host's id of its init.
func (a *Agent) Started(ctx context.Context, id string, pid int) {
	t := a.container(id)
	if t == nil {
		return
	}
	if reason := t.awaited(); reason != "" {
		a.decide(t.Facts, Decision{
			Action: ActionColdStart, Outcome: Taken, Class: ClassUnusable, Reason: reason + "; the shim did not ask again",
		})
	}
	watch, stop := context.WithCancel(a.ctx)
	t.begin(pid, stop)
	a.noteSuspension(t)
	a.watchOver(watch, t)
	log.G(ctx).WithField("container", id).Debug("watching container")
}

// settleTicket reads what the shim made of a ticket, and tells whether the
// container was restored. A ticket that was settled by an earlier daemon is
// gone; its container was restored then, or would have no checkpoint to its name.
func (a *Agent) settleTicket(t *tracked) (restored bool) {
	if t.dir.Read(&api.Ticket{}) != nil {
		return true
	}
	restored = a.judge(t)
	a.release(t)
	a.discardPlain(t)
	if !restored {
		t.RestoredFrom = ""
	}
	err := errors.Join(t.save(), t.dir.Discard(&api.Ticket{}), t.dir.Discard(&api.Outcome{}))
	if err != nil {
		log.G(a.ctx).WithError(err).WithField("container", t.ID).Warn("close the ticket")
	}
	return restored
}

// judge decides what a ticket's outcome means for its checkpoint.
func (a *Agent) judge(t *tracked) (restored bool) {
	var o api.Outcome
	if err := t.dir.Read(&o); err != nil {
		d := Decision{
			Action: ActionRestore, Outcome: Failed, Class: ClassHandler, Checkpoint: t.RestoredFrom,
			Reason: "the shim left no word about the restore; is the pod's runtime handler rekindle's? " + err.Error(),
		}
		a.decide(t.Facts, d)
		a.keepLog(t, d, logsIn(t.dir.Work(), criu.RestoreLog))
		a.unclaim(t)
		return false
	}
	if o.Restored {
		a.metrics.restored(o.Took)
		d := Decision{
			Action: ActionRestore, Outcome: Taken, Checkpoint: o.Checkpoint, Took: o.Took,
			Reason: fmt.Sprintf("restored in %s, %s", o.Took.Round(time.Millisecond), t.Cause),
		}
		a.decide(t.Facts, d)
		a.keepLog(t, d, logsIn(t.dir.Work(), criu.RestoreLog))
		return true
	}
	d := Decision{
		Action: ActionRestore, Outcome: Failed, Class: ClassRestore, Checkpoint: o.Checkpoint, Reason: "started cold instead: " + o.Error,
	}
	a.decide(t.Facts, d)
	a.keepLog(t, d, logsIn(t.dir.Work(), criu.RestoreLog))
	if o.Innocent {
		a.unclaim(t)
	} else {
		a.setAside(t, o.Checkpoint, o.Error, ClassRestore)
	}
	return false
}

// unclaim takes back what a ticket that was never tried did to its checkpoint.
func (a *Agent) unclaim(t *tracked) {
	if t.RestoredFrom == "" {
		return
	}
	if t.Cloned {
		t.pardoned.Store(false) // and never to be counted
		return
	}
	a.unclaimSet(t)
	err := a.store.Update(t.RestoredFrom, func(m *store.Marks) error {
		if m.ClaimedBy != t.Sandbox {
			return nil // it did not come to the claim, or another has it
		}
		m.ClaimedBy = t.ClaimedBefore
		m.Attempts = max(0, m.Attempts-1)
		return nil
	})
	if err != nil {
		log.G(a.ctx).WithError(err).WithField("checkpoint", t.RestoredFrom).Warn("take the claim back")
	}
}

// awaitSettled clears a checkpoint of suspicion when the container that was
// restored from it has lived long enough.
func (a *Agent) awaitSettled(watch context.Context, t *tracked) {
	select {
	case <-watch.Done():
		return
	case <-time.After(a.Config().Limits.Settle.Duration):
	}
	t.settled.Store(true)
	if t.Cloned {
		t.pardoned.Store(false)
	}
	if t.AfterOOM && !t.Cloned {
		// What fills the memory may be in the checkpoint, and takes longer than
		// that to fill it again.
		return
	}
	err := a.store.Update(t.RestoredFrom, func(m *store.Marks) error {
		m.Attempts = 0
		return nil
	})
	if err != nil {
		log.G(a.ctx).WithError(err).WithField("checkpoint", t.RestoredFrom).Warn("note that the container settled")
	}
}

// closeTicket accounts for the ticket of a container that has ended. One that
// ended right after its restore was never told to have started. An attempt of
// which there is no word stays counted: the shim may have died of it.
func (a *Agent) closeTicket(t *tracked) {
	switch {
	case t.dir.Read(&api.Outcome{}) == nil:
		a.settleTicket(t)
	case t.dir.Read(&api.Attach{}) != nil:
		// The shim never saw the container as ours: its creation failed before, or
		// we did.
		a.unclaim(t)
	}
	a.release(t)
	a.discardPlain(t)
}

// Stopped notes that a container ended. When it ended by itself and well, its
// checkpoints are of no more use: restoring one would do its work twice.
func (a *Agent) Stopped(_ context.Context, id string) {
	t := a.container(id)
	if t == nil {
		return
	}
	t.end()
	a.closeTicket(t)
	a.pardon(t)
	a.blame(t)
	a.conclude(t)
}

// blame notes with a checkpoint how the container that was restored from it
// ended, if that was before it had settled.
func (a *Agent) blame(t *tracked) {
	e := t.exit()
	if t.RestoredFrom == "" || t.settled.Load() || e == nil || e.Asked {
		return
	}
	err := a.store.Update(t.RestoredFrom, func(m *store.Marks) error {
		failure := store.Failure{Time: e.At, Reason: fmt.Sprintf("the container restored from it ended with status %d before it had settled", e.Status)}
		if !slices.Contains(m.Failures, failure) { // told again by a synchronization
			m.Failures = append(m.Failures, failure)
		}
		return nil
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		log.G(a.ctx).WithError(err).WithField("checkpoint", t.RestoredFrom).Warn("note a restore that did not settle")
	}
}

// pardon takes back an attempt that ended because the container was stopped
// from outside: that says nothing about its checkpoint, unless the pod goes on
// and wants another container (see accuse).
func (a *Agent) pardon(t *tracked) {
	e := t.exit()
	if t.Cloned {
		a.charge(t, e)
		return
	}
	if t.RestoredFrom == "" || t.settled.Load() || e == nil || !e.Asked || t.pardoned.Swap(true) {
		return
	}
	a.count(t.RestoredFrom, -1)
}

// accuse counts an attempt again that was pardoned: the container was stopped
// within a living pod, which a failed liveness probe does.
func (a *Agent) accuse(t *tracked) {
	if !t.pardoned.Swap(false) {
		return
	}
	a.count(t.RestoredFrom, +1)
	if t.Cloned {
		t.Charged = true
		if err := t.save(); err != nil {
			log.G(a.ctx).WithError(err).WithField("container", t.ID).Warn("note that the clone was counted")
		}
	}
}

// count changes the number of a checkpoint's restores that did not settle.
func (a *Agent) count(id string, by int) {
	err := a.store.Update(id, func(m *store.Marks) error {
		m.Attempts = max(0, m.Attempts+by)
		return nil
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		log.G(a.ctx).WithError(err).WithField("checkpoint", id).Warn("count the attempts")
	}
}

func (a *Agent) conclude(t *tracked) {
	e := t.exit()
	if e == nil || e.Status != 0 || e.Asked {
		return
	}
	list, err := a.store.List(t.lineage)
	if err != nil {
		log.G(a.ctx).WithError(err).Warn("list checkpoints of a completed container")
		return
	}
	for _, c := range list {
		if c.Trigger == string(policy.Ready) {
			// It is of a start, before any work.
			continue
		}
		err := a.store.Update(c.ID, func(m *store.Marks) error {
			m.Completed = m.Completed || c.Manifest.SandboxID == t.Sandbox || m.ClaimedBy == t.Sandbox
			return nil
		})
		if err != nil {
			log.G(a.ctx).WithError(err).WithField("checkpoint", c.ID).Warn("note that the container completed")
		}
	}
}

// SandboxStopped notes that a pod's sandbox ended: no container of it will be
// created again.
func (a *Agent) SandboxStopped(ctx context.Context, sandbox string) {
	a.mu.Lock()
	var list []*tracked
	for _, t := range a.containers {
		if t.Sandbox == sandbox {
			list = append(list, t)
		}
	}
	a.mu.Unlock()
	for _, t := range list {
		if err := t.dir.Write(&api.Stop{At: time.Now()}); err != nil {
			log.G(ctx).WithError(err).WithField("container", t.ID).Warn("note that the pod ended")
		}
	}
}

// Removed forgets a container that the runtime has deleted.
func (a *Agent) Removed(ctx context.Context, id string) {
	t := a.container(id)
	if t == nil {
		return
	}
	t.end()
	a.closeTicket(t)
	if t.Cloned {
		// Whoever died with its shim was never told to have stopped.
		a.charge(t, t.exit())
	}
	a.mu.Lock()
	delete(a.containers, id)
	a.mu.Unlock()
	if err := os.RemoveAll(string(t.dir)); err != nil {
		log.G(ctx).WithError(err).WithField("container", id).Warn("remove run directory")
	}
}

// Synchronize learns the state of the node after the daemon or the runtime
// restarted: the containers that live, with a pid when they run, and the sandboxes that exist. What the run
// directory says of others is kept while their sandbox lives.
func (a *Agent) Synchronize(ctx context.Context, living []Facts, sandboxes map[string]bool) {
	alive := map[string]Facts{}
	for _, f := range living {
		alive[f.ID] = f
	}
	defer func() {
		a.reportStrays(living)
		a.once.Do(func() { close(a.synchronized) })
	}()
	for _, t := range recordedContainers(func(dir string, err error) {
		log.G(ctx).WithError(err).WithField("directory", dir).Warn("run directory passed over")
		if _, lives := alive[filepath.Base(dir)]; !lives && errors.Is(err, errNoFacts) {
			_ = os.RemoveAll(dir) // begun for a container that never came to be
		}
	}) {
		if known := a.container(t.ID); known != nil {
			t = known
		} else {
			t.policy = policy.Resolve(t.Annotations, t.Namespace, t.Name, a.Config())
		}
		f, lives := alive[t.ID]
		// One that runs, and that its shim was not told to be ours, was created by
		// the runtime without us: the daemon before this one died in the middle.
		stranger := f.Pid != 0 && t.dir.Read(&api.Attach{}) != nil
		if !lives && !sandboxes[t.Sandbox] || stranger {
			a.track(t)
			a.Removed(ctx, t.ID)
			continue
		}
		a.track(t)
		a.thawLeftover(ctx, t)
		if t.dir.Read(&api.Ticket{}) == nil && t.RestoredFrom != "" {
			if err := a.hold(t, t.RestoredFrom); err != nil {
				log.G(ctx).WithError(err).WithField("container", t.ID).Warn("hold the checkpoint of a ticket")
			}
		}
		switch {
		case !lives:
			a.Stopped(ctx, t.ID)
		case t.running() == 0 && !t.asleep() && f.Pid != 0:
			a.Started(ctx, t.ID, f.Pid)
		}
	}
}

// reportStrays says of containers that should be managed, but were created
// while no daemon ran, that they are not.
func (a *Agent) reportStrays(living []Facts) {
	for _, f := range living {
		if a.container(f.ID) == nil && policy.Resolve(f.Annotations, f.Namespace, f.Name, a.Config()).Managed {
			a.decide(f, Decision{
				Action: ActionAdmit, Outcome: Refused, Class: ClassUnmanaged,
				Reason: "the container was created while rekindled did not run; it is managed from its next start on",
			})
		}
	}
}

// track makes a container known. Its pod's dumps are one at a time, so it shares
// that turn with those of its sandbox that are known already.
func (a *Agent) track(t *tracked) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, other := range a.containers {
		if other.Sandbox == t.Sandbox {
			t.pod = other.pod
			break
		}
	}
	a.containers[t.ID] = t
}
