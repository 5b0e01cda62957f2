package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// The containers of a pod get their stop signals at about the same time, each
// from a call of its own. Where they are to be checkpointed together, the shim
// holds the first back until the last has come.

// gatherPoll is how often it is looked who has come.
const gatherPoll = 10 * time.Millisecond

// farewell is the stop of a pod whose containers are checkpointed together.
type farewell struct {
	cancel context.CancelFunc
	// come are the containers whose signal is held back, by id; the agent's lock
	// guards it.
	come map[string]*tracked
	// done is closed when made and err are there.
	done chan struct{}
	made map[string]store.Checkpoint
	err  error
}

// Stopping makes the last checkpoint of a container whose stop signal is held
// back. ctx ends when it is held back no longer.
func (a *Agent) Stopping(ctx context.Context, id string) (store.Checkpoint, error) {
	t := a.container(id)
	if t != nil {
		defer t.stopOver.Store(true)
	}
	if t == nil || !t.consistent() {
		made, err := a.Checkpoint(ctx, id, policy.Stop, stopReason)
		if err != nil {
			return store.Checkpoint{}, err
		}
		return made[0], nil
	}
	f := a.join(t)
	// Who gives up does so for all: his state does not fit to theirs any more.
	defer context.AfterFunc(ctx, f.cancel)()
	select {
	case <-f.done:
		return f.made[id], f.err
	case <-ctx.Done():
		return store.Checkpoint{}, ctx.Err()
	}
}

const stopReason = "the container is being stopped"

// join adds a container to the farewell of its pod, which begins with the first.
func (a *Agent) join(t *tracked) *farewell {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.farewells[t.Sandbox]
	if f == nil {
		ctx, cancel := context.WithCancel(a.ctx)
		f = &farewell{cancel: cancel, come: map[string]*tracked{}, done: make(chan struct{})}
		a.farewells[t.Sandbox] = f
		a.workers.Go(func() {
			defer cancel()
			a.part(ctx, f, t)
		})
	}
	f.come[t.ID] = t
	return f
}

// part waits until all containers of a pod are being stopped, and checkpoints
// them. t is the first.
func (a *Agent) part(ctx context.Context, f *farewell, t *tracked) {
	err := a.gather(ctx, f, t)
	a.mu.Lock()
	delete(a.farewells, t.Sandbox) // who comes now is too late
	set := []*tracked{t}
	for _, other := range f.come {
		if other != t {
			set = append(set, other)
		}
	}
	a.mu.Unlock()
	if err == nil {
		err = a.sleeper(t)
	}
	if err == nil {
		var release func()
		if release, err = a.turn(ctx, t, policy.Stop); err == nil {
			defer release()
		}
	}
	made, err := a.takeSet(ctx, set, order{trigger: policy.Stop, reason: stopReason, hold: true, set: true}, err)
	f.made, f.err = map[string]store.Checkpoint{}, err
	for i, c := range made {
		f.made[set[i].ID] = c
	}
	close(f.done)
}

// gather returns when the stop signals of all containers of the pod that run are
// held back, or with the reason why that will not be. The first never waits for
// longer than half of its budget. One that is stopped alone, by a failed liveness
// probe, loses as much.
func (a *Agent) gather(ctx context.Context, f *farewell, t *tracked) error {
	ctx, cancel := context.WithTimeout(ctx, min(policy.GatherTime, a.stopBudget(t)/2))
	defer cancel()
	for {
		missing := a.missing(f, t)
		if missing == nil {
			return nil
		}
		if missing.stopOver.Load() {
			return &skip{class: ClassSet, reason: fmt.Sprintf("container %s of the pod has got its stop signal already", missing.Name)}
		}
		select {
		case <-ctx.Done():
			return &skip{class: ClassSet, reason: fmt.Sprintf("container %s of the pod is not being stopped with it", missing.Name)}
		case <-time.After(gatherPoll):
		}
	}
}

// missing returns a container of the pod that runs and has not come; nil when
// all have.
func (a *Agent) missing(f *farewell, t *tracked) *tracked {
	set := a.together(t)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, other := range set {
		if f.come[other.ID] == nil {
			return other
		}
	}
	return nil
}
