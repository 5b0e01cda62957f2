package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/fail"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// Admission is what the runtime is to be told about a new container.
type Admission struct {
	// Managed is set when the container's policy is in force.
	Managed bool
	// CRIUConfig is the file of CRIU options, when managed.
	CRIUConfig string
}

// Admit looks at a container that is about to be created. A managed one gets a
// run directory and, when a checkpoint is to be restored, a ticket in it. It
// runs under the runtime's lock and takes milliseconds. No error of ours may
// keep a container from being created: they are logged, and the container is
// left as it would have been without us.
// complete fills in what costs time to learn, and is asked for managed
// containers only.
func (a *Agent) Admit(ctx context.Context, f Facts, complete func(context.Context, *Facts)) Admission {
	began := time.Now()
	defer func() { a.metrics.admitted(time.Since(began)) }()
	cfg := a.Config()
	p := policy.Resolve(f.Annotations, f.Namespace, f.Name, cfg)
	logger := log.G(ctx).WithFields(log.Fields{"namespace": f.Namespace, "pod": f.Pod, "container": f.Name})
	for _, problem := range p.Problems {
		logger.WithField("annotation", problem.Key).Warnf("annotation ignored or changed: %s", problem.Reason)
	}
	if !p.Managed {
		if asks(f.Annotations) {
			a.decide(f, Decision{Action: ActionAdmit, Outcome: Refused, Reason: p.Why, Class: ClassPolicy})
		}
		return Admission{}
	}
	complete(ctx, &f)
	if f.Refusal != "" {
		a.decide(f, Decision{Action: ActionAdmit, Outcome: Refused, Reason: f.Refusal, Class: ClassUnsupported})
		return Admission{}
	}
	t := newTracked()
	t.Facts, t.Created, t.policy = f, time.Now(), p
	if err := a.admit(ctx, t); err != nil {
		a.decide(f, Decision{Action: ActionAdmit, Outcome: Failed, Reason: err.Error(), Class: classOf(err)})
		return Admission{}
	}
	a.track(t)
	return Admission{Managed: true, CRIUConfig: t.dir.CRIUConfig()}
}

// asks tells whether a pod has any annotation of ours; of one that has, it must
// be possible to learn why nothing happens.
func asks(annotations map[string]string) bool {
	for key := range annotations {
		domain, _, found := strings.Cut(key, "/")
		if found && (domain == policy.Domain || strings.HasSuffix(domain, "."+policy.Domain)) {
			return true
		}
	}
	return false
}

// writeOptions gives a container its file of CRIU options.
func (a *Agent) writeOptions(t *tracked) error {
	options := criu.Options{GhostLimit: int64(a.Config().CRIU.GhostLimit)}
	return t.dir.WriteFile("criu.conf", options.File())
}

func (a *Agent) admit(ctx context.Context, t *tracked) error {
	var err error
	if t.lineage, err = lineageOf(t.Facts); err != nil {
		return err
	}
	if t.dir, err = api.ContainerDirOf(t.ID); err != nil {
		return err
	}
	if err := t.dir.Make(); err != nil {
		return err
	}
	if err := a.writeOptions(t); err != nil {
		return err
	}
	// Whatever cuts this off, the next daemon knows whose directory this is.
	if err := t.save(); err != nil {
		return err
	}
	orders := &api.Orders{Control: a.Config().Sockets.Control}
	if t.policy.Has(policy.Stop) {
		orders.StopBudget = a.stopBudget(t)
	}
	orders.AwaitTicket = a.assign(ctx, t)
	if err := t.dir.Write(orders); err != nil {
		return err
	}
	return t.save()
}

// stopBudget is how long a container's stop may be held back: what the node
// allows, but no longer than the pod may take to stop.
func (a *Agent) stopBudget(t *tracked) time.Duration {
	budget := a.Config().Limits.StopBudget.Duration
	if t.Grace > 0 {
		budget = min(budget, t.Grace)
	}
	return budget
}

// assign gives a new container a ticket if there is a checkpoint for it, and
// returns how long its creation may wait for one if there is none yet. A
// container without a ticket starts cold, and may still be checkpointed.
func (a *Agent) assign(ctx context.Context, t *tracked) (wait time.Duration) {
	a.closeStale(t)
	if previous := a.previous(t); previous != nil {
		t.inheritRequest(previous)
		a.accuse(previous)
	}
	choice, err := a.issue(ctx, t)
	if err == nil && choice.worthWaiting() {
		t.await(choice.reason)
		return a.longestWait() + answerMargin
	}
	a.assigned(t, choice, err)
	return 0
}

// assigned says why a container got no ticket, if it got none.
func (a *Agent) assigned(t *tracked, c choice, err error) {
	switch {
	case err != nil:
		a.decide(t.Facts, Decision{Action: ActionRestore, Outcome: Failed, Reason: err.Error(), Class: classOf(err)})
	case c.chosen == nil:
		a.decide(t.Facts, Decision{Action: ActionColdStart, Outcome: Taken, Reason: c.reason, Class: c.class})
	}
}

// issue chooses a checkpoint for a new container, claims it and writes the
// ticket. There is no ticket if none is chosen, or if a better one may come.
func (a *Agent) issue(ctx context.Context, t *tracked) (choice, error) {
	a.choosing.Lock()
	defer a.choosing.Unlock()
	choice, err := a.choose(ctx, t)
	if err != nil || choice.chosen == nil || choice.worthWaiting() {
		return choice, err
	}
	return choice, a.claim(t, choice.chosen)
}

// intend notes which checkpoint a container is about to claim, and who has it, so
// that the next daemon can take the claim back if this one does not live to
// write the ticket.
func (a *Agent) intend(t *tracked, id string) error {
	marks, err := a.store.Marks(id)
	if err != nil {
		return fmt.Errorf("claim checkpoint: %w", err)
	}
	t.ClaimedBefore = marks.ClaimedBy
	return t.save()
}

// claim gives a checkpoint to a container and writes the ticket.
func (a *Agent) claim(t *tracked, c *store.Checkpoint) error {
	id, restore := c.ID, 0
	// The hold comes first: from here on nothing retires the checkpoint, and if
	// that happened just before, it fails.
	err := a.hold(t, id)
	if err != nil {
		t.RestoredFrom = ""
		return fmt.Errorf("claim checkpoint: %w", err)
	}
	if err = a.intend(t, id); err != nil {
		a.release(t)
		t.RestoredFrom = ""
		return err
	}
	err = a.store.Update(id, func(m *store.Marks) error {
		m.Restores++
		restore = m.Restores
		if t.Cloned = t.clones(*c, *m); t.Cloned {
			t.pardoned.Store(true)
			t.Cause += ", as a clone"
			return nil
		}
		t.ClaimedBefore = m.ClaimedBy
		m.ClaimedBy = t.Sandbox
		m.Attempts++
		return nil
	})
	if err == nil {
		if err = a.claimSet(t, *c); err != nil {
			a.unclaim(t)
		}
	}
	if err != nil {
		a.release(t)
		t.RestoredFrom = ""
		return fmt.Errorf("claim checkpoint: %w", err)
	}
	ticket := &api.Ticket{
		Checkpoint: id,
		Dir:        c.Dir(),
		Manifest:   c.Sum(),
		Trusted:    a.trusted(c),
		Encrypted:  c.Encryption != nil,
		Timeout:    a.Config().Limits.RestoreTimeout.Duration,
		Restored: api.Restored{
			Checkpoint: id, Restore: restore, Namespace: t.Namespace, Pod: t.Pod, PodUID: t.PodUID,
		},
	}
	if t.heeds(*c) && len(c.Set) > 1 {
		ticket.Set, ticket.Members = setOf(c.Manifest), len(c.Set)
	}
	err = fail.TicketClaimed.Hit()
	if err == nil {
		err = a.giveKey(t.ID, c.Manifest)
	}
	if err == nil {
		err = t.dir.Write(ticket)
	}
	if err == nil {
		err = fail.TicketWritten.Hit()
	}
	if err != nil {
		a.unclaim(t)
		a.release(t)
		a.discardPlain(t)
		t.RestoredFrom = ""
		return errors.Join(err, t.dir.Discard(ticket))
	}
	return nil
}
