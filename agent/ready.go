package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

const (
	// readyPoll is the pause between two looks for a sign, which grows with the
	// time that a container takes, up to slowPoll.
	readyPoll = 200 * time.Millisecond
	slowPoll  = 2 * time.Second
	// turnPoll is the pause between two tries to be the one of several replicas
	// that is checkpointed.
	turnPoll = time.Second
)

// sign tells whether a container is ready. An error is no reason to stop asking.
type sign func() (bool, error)

// onceReady fires the ready trigger, once, when a container that started cold is
// ready, unless there is such a checkpoint of its image and spec already.
func (a *Agent) onceReady(ctx context.Context, t *tracked) {
	if t.policy.Ready.Kind == "" {
		return
	}
	err := a.awaitReady(ctx, t)
	if ctx.Err() != nil {
		return
	}
	t.Warm = true
	if serr := t.save(); serr != nil {
		log.G(ctx).WithError(serr).WithField("container", t.ID).Warn("note that the container is ready")
	}
	if err != nil {
		a.decide(t.Facts, Decision{Action: ActionCheckpoint, Outcome: Skipped, Trigger: policy.Ready, Class: ClassTimeout, Reason: err.Error()})
		return
	}
	if t.consistent() && !a.othersStarted(ctx, t) {
		return
	}
	t.warmed.Store(true)
	if other := a.unready(t); other != nil {
		a.decide(t.Facts, Decision{
			Action: ActionCheckpoint, Outcome: Skipped, Trigger: policy.Ready, Class: ClassSet,
			Reason: "it is ready; they are checkpointed together when container " + other.Name + " is, too",
		})
		return
	}
	release := a.startTurn(ctx, t)
	if release == nil {
		return
	}
	defer release()
	if c, found := a.startOf(ctx, t); found {
		a.decide(t.Facts, Decision{
			Action: ActionCheckpoint, Outcome: Skipped, Trigger: policy.Ready, Class: ClassDone, Checkpoint: c.ID,
			Reason: "it is ready, but there is such a checkpoint of this image and spec already",
		})
		return
	}
	// The outcome, good or bad, is a decision that is kept and logged.
	made, _ := a.Checkpoint(ctx, t.ID, policy.Ready, "the container is ready ("+t.policy.Ready.String()+")")
	for _, c := range made {
		a.share(ctx, t, c)
	}
}

// othersStarted waits until no container of the pod has been created for a while,
// for what is not there yet cannot be waited for. It returns false when ctx ends
// first.
func (a *Agent) othersStarted(ctx context.Context, t *tracked) bool {
	for {
		newest := t.Created
		for _, other := range a.inSandbox(t.Sandbox) {
			if other.Created.After(newest) {
				newest = other.Created
			}
		}
		if time.Since(newest) >= policy.GatherTime {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(readyPoll):
		}
	}
}

// unready returns a container that is checkpointed together with a ready one, and
// is not ready itself; nil when there is none.
func (a *Agent) unready(t *tracked) *tracked {
	for _, other := range a.together(t) {
		if other.policy.Has(policy.Ready) && other.RestoredFrom == "" && !other.warmed.Load() {
			return other
		}
	}
	return nil
}

// awaitReady returns when the container is ready, or says why it is not.
func (a *Agent) awaitReady(ctx context.Context, t *tracked) error {
	limit := a.Config().Bounds.ReadyMax
	ctx, cancel := context.WithDeadline(ctx, t.Created.Add(limit.Duration))
	defer cancel()
	look, done, err := a.signOf(ctx, t)
	if err != nil {
		return fmt.Errorf("wait until the container is ready: %w", err)
	}
	defer done()
	var last error
	for {
		ready, err := look()
		if ready {
			return nil
		}
		last = err
		select {
		case <-ctx.Done():
			err := fmt.Errorf("the container was not ready within %s (%s)", limit, t.policy.Ready)
			if last != nil {
				err = fmt.Errorf("%w: %w", err, last)
			}
			return err
		case <-time.After(min(max(time.Since(t.Created)/100, readyPoll), slowPoll)):
		}
	}
}

// signOf builds the sign by which a container is known to be ready. done gives
// free what it holds.
func (a *Agent) signOf(ctx context.Context, t *tracked) (look sign, done func(), err error) {
	pid, c := t.running(), t.policy.Ready
	none := func() {}
	switch c.Kind {
	case policy.After:
		return func() (bool, error) { return time.Since(t.Created) >= c.After, nil }, none, nil
	case policy.Port:
		return func() (bool, error) { return listens(pid, c.Port) }, none, nil
	case policy.File:
		return func() (bool, error) { return saysReady(pid) }, none, nil
	case policy.Line:
		if a.logs == nil {
			return nil, nil, errNoLogs
		}
		path, err := a.logs.LogPath(ctx, t.ID)
		if err != nil {
			return nil, nil, fmt.Errorf("learn where the container's log is: %w", err)
		}
		s := &logSearch{path: path, text: []byte(c.Text)}
		return s.seen, s.close, nil
	}
	return nil, nil, fmt.Errorf("unknown condition %q", c.Kind)
}

var errNoLogs = errors.New("the runtime does not tell where logs are")

// Logs tells where the runtime writes the log of a container.
type Logs interface {
	LogPath(ctx context.Context, container string) (string, error)
}

// UseLogs lets containers be ready by a line in their log. It is called before
// the first container is admitted.
func (a *Agent) UseLogs(l Logs) { a.logs = l }

// start is what one checkpoint of the ready trigger is enough for.
type start struct {
	lineage            store.Lineage
	image, fingerprint string
}

// startTurn waits until no other container of the same lineage, image and spec
// is being checkpointed because it is ready, nor any of a workload whose
// containers are checkpointed together. It returns nil when ctx ends first.
func (a *Agent) startTurn(ctx context.Context, t *tracked) (release func()) {
	key := start{t.lineage, t.ImageDigest, t.Fingerprint}
	if t.consistent() {
		key = start{lineage: store.Lineage{Namespace: t.Namespace, Workload: t.lineage.Workload}}
	}
	for {
		a.mu.Lock()
		taken := a.starts[key]
		a.starts[key] = true
		a.mu.Unlock()
		if !taken {
			return func() {
				a.mu.Lock()
				defer a.mu.Unlock()
				delete(a.starts, key)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(turnPoll):
		}
	}
}

// startOf finds the checkpoint that another container of the same lineage, image
// and spec left when it was ready.
func (a *Agent) startOf(ctx context.Context, t *tracked) (store.Checkpoint, bool) {
	list, err := a.store.List(t.lineage)
	if err != nil {
		log.G(ctx).WithError(err).Warn("list checkpoints of the ready trigger")
		return store.Checkpoint{}, false
	}
	starts, _ := ofReady(list)
	for _, c := range starts {
		m := c.Manifest
		if m.ImageDigest == t.ImageDigest && m.Fingerprint == t.Fingerprint && a.node.objection(m) == "" {
			return c, true
		}
	}
	return store.Checkpoint{}, false
}

// share notes on a new checkpoint that others may be cloned from it, when its
// own pod asks for clones.
func (a *Agent) share(ctx context.Context, t *tracked, c store.Checkpoint) {
	if t.policy.Restore != policy.RestoreClone {
		return
	}
	err := a.store.Update(c.ID, func(m *store.Marks) error {
		m.Shared = true
		return nil
	})
	if err != nil {
		log.G(ctx).WithError(err).WithField("checkpoint", c.ID).Warn("note that the checkpoint may be cloned")
	}
}
