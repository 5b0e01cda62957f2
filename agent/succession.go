package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// Kubernetes replaces a pod of a Deployment as soon as it is marked for
// deletion, so its successor's container may be created before it is told to
// stop, and all the more before its last checkpoint is made. Such a container
// waits a little: in its shim, where it holds up no other.

// errNotAwaiting is returned for a container that no ticket may come for.
var errNotAwaiting = errors.New("no ticket is to come for it")

const (
	// successionPoll is how often the pods of a lineage are looked at.
	successionPoll = 20 * time.Millisecond
	// answerMargin is what the shim allows for an answer on top of the wait.
	answerMargin = time.Second
)

// longestWait bounds the wait of one container; 0 is no wait at all. A pod that
// is told to stop in the last moment may still make its last checkpoint, and the
// restore must still fit into the time that the kubelet gives.
func (a *Agent) longestWait() time.Duration {
	l := a.Config().Limits
	if l.SuccessorWait.Duration == 0 {
		return 0
	}
	return min(l.SuccessorWait.Duration+l.StopBudget.Duration, conf.MaxRestoreTimeout-l.RestoreTimeout.Duration)
}

// AwaitTicket looks for a checkpoint again, for a container about to be created
// that found none at first, while pods of its lineage stop. The ticket is
// written when it returns; if there is none, the container is to start cold.
func (a *Agent) AwaitTicket(ctx context.Context, id string) error {
	t := a.container(id)
	if t == nil || t.awaited() == "" {
		return fmt.Errorf("await ticket for container %.12s: %w", id, errNotAwaiting)
	}
	choice, err := a.await(ctx, t)
	a.assigned(t, choice, err)
	return t.save()
}

// await chooses anew whenever a pod of the lineage has changed.
func (a *Agent) await(ctx context.Context, t *tracked) (choice, error) {
	began := time.Now()
	tick := time.NewTicker(successionPoll)
	defer tick.Stop()
	for last := ""; ; {
		waited := time.Since(began)
		over := waited >= a.longestWait() || waited >= a.Config().Limits.SuccessorWait.Duration && !a.stopPending(t, nil)
		if state := a.succession(t); state != last || over {
			last = state
			choice, err := a.lookAgain(ctx, t, over)
			if over && choice.chosen == nil {
				choice.reason += fmt.Sprintf("; waited %s for a running pod to stop", waited.Round(100*time.Millisecond))
			}
			if err != nil || over || !choice.worthWaiting() {
				return choice, err
			}
		}
		select {
		case <-ctx.Done():
			return choice{}, fmt.Errorf("await ticket: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// lookAgain issues a ticket. The last look takes what there is.
func (a *Agent) lookAgain(ctx context.Context, t *tracked, last bool) (choice, error) {
	choice, err := a.issue(ctx, t)
	if err == nil && last && choice.chosen != nil && choice.worthWaiting() {
		err = a.claim(t, choice.chosen)
	}
	return choice, err
}

// succession sums up how far the other pods of a lineage have come with
// stopping; it changes when a new choice may come out differently.
func (a *Agent) succession(t *tracked) string {
	var states []string
	for _, other := range a.rivals(t) {
		states = append(states, fmt.Sprint(other.ID, other.stopping(), a.makesLast(other)))
	}
	slices.Sort(states)
	return strings.Join(states, " ")
}

// stopPending tells whether a pod of the lineage is making its last checkpoint:
// any, or the one from which a chosen checkpoint comes.
func (a *Agent) stopPending(t *tracked, chosen *store.Checkpoint) bool {
	for _, other := range a.rivals(t) {
		if a.makesLast(other) && (chosen == nil || a.heldBy(chosen) == other.Sandbox) {
			return true
		}
	}
	return false
}

// stopMayCome tells whether a pod of the lineage would make a checkpoint before
// it stops. One that has only just been created is not about to be replaced, so
// that the first pods of a roll-out do not wait for one another.
func (a *Agent) stopMayCome(t *tracked) bool {
	young := a.Config().Limits.SuccessorWait.Duration
	return slices.ContainsFunc(a.rivals(t), func(other *tracked) bool {
		return other.policy.Has(policy.Stop) && other.running() != 0 && !other.stopping() && t.Created.Sub(other.Created) > young
	})
}

// heldBy returns the sandbox whose memory a checkpoint is.
func (a *Agent) heldBy(c *store.Checkpoint) string {
	if m, err := a.store.Marks(c.ID); err == nil && m.ClaimedBy != "" {
		return m.ClaimedBy
	}
	return c.Manifest.SandboxID
}

// rivals returns the containers of a lineage in other pods.
func (a *Agent) rivals(t *tracked) []*tracked {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []*tracked
	for _, other := range a.containers {
		if other.lineage == t.lineage && other.Sandbox != t.Sandbox {
			found = append(found, other)
		}
	}
	return found
}

// makesLast tells whether a container was told to stop, and its last checkpoint
// is not made or given up yet.
func (a *Agent) makesLast(t *tracked) bool {
	var stop api.Stop
	return t.policy.Has(policy.Stop) && !t.stopOver.Load() && t.running() != 0 &&
		t.dir.Read(&stop) == nil && time.Since(stop.At) < a.stopBudget(t)
}
