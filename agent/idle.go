package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/policy"
)

const (
	// looksPerWindow is how often a container is looked at within the time for
	// which it has to be quiet: it is found idle that part of it late.
	looksPerWindow = 5
	// leastPause and mostPause bound the time between two looks.
	leastPause, mostPause = 200 * time.Millisecond, 30 * time.Second
	// lookShare is the part of a processor that looking at one container may take: for
	// a hundred of them it is less than a hundredth.
	lookShare = 15_000
)

// watchIdle fires the idle trigger for one container until ctx ends, over all its
// sleeps.
func (a *Agent) watchIdle(ctx context.Context, t *tracked) {
	defer t.vigil.Store(nil)
	flaps := 0
	for {
		turned := t.sleepTurned()
		if t.running() != 0 {
			flaps = a.keepVigil(ctx, t, flaps)
		}
		t.vigil.Store(nil)
		if t.running() != 0 && ctx.Err() == nil {
			continue // it has slept, and is awake again
		}
		select {
		case <-ctx.Done():
			return
		case <-turned:
		}
	}
}

// keepVigil watches until the container sleeps or ctx ends, and returns what is
// known of flapping then.
func (a *Agent) keepVigil(ctx context.Context, t *tracked, flaps int) int {
	v := newVigil(t.policy.Idle, time.Now())
	v.flaps = flaps
	if s := t.lastSuspension(); s.Wake != nil {
		if fell := t.fellAsleep(); !fell.IsZero() {
			v.slept(s.Wake.At.Sub(fell), !ours(s.Wake.Reason))
		}
		v.awake = s.Wake.At.Add(v.idle.StayAwake)
	}
	e := newEye(a, t)
	defer e.close()
	pause := v.nextLook(0)
	for {
		t.vigil.Store(v.portrait())
		select {
		case <-ctx.Done():
			return v.flaps
		case <-time.After(pause):
		}
		began := time.Now()
		list, err := e.look(began, v.idle)
		if t.running() != e.pid { // it ends, or has slept
			return v.flaps
		}
		if v.loud(signalTimer) {
			list = append(list, e.timer(v.window()))
		}
		v.see(began, list, err)
		cost := time.Since(began)
		a.metrics.lookedForIdle(cost)
		pause = v.nextLook(cost)
		// With an exec session open nothing can be done. A probe is over soon.
		if due := v.due(); !due.IsZero() && !began.Before(due) && !e.open {
			a.idle(ctx, t, v, e)
		}
		if t.running() != e.pid {
			return v.flaps
		}
	}
}

// nextLook is when to look again after a look that has cost so much.
func (v *vigil) nextLook(cost time.Duration) time.Duration {
	pause := min(v.idle.After/looksPerWindow, mostPause)
	// Who is looked at twice in his window is still found idle in time.
	pause = max(pause, min(cost*lookShare, v.idle.After/2))
	return max(pause, leastPause)
}

// idle does what is to be done with an idle container. The outcome, good or bad, is
// a decision that is kept and logged.
func (a *Agent) idle(ctx context.Context, t *tracked, v *vigil, e *eye) {
	reason := fmt.Sprintf("the container was idle for %s", words(v.window()))
	act := a.checkpointIdle
	if v.idle.Action == policy.SuspendIdle {
		timer := e.timer(v.window())
		v.see(time.Now(), []seen{timer}, nil)
		if timer.loud { // it has work of its own to do by then
			return
		}
		act = a.suspendIdle
	}
	err := act(ctx, t, reason)
	var s *skip
	if errors.As(err, &s) && s.class != ClassUnchanged {
		v.hold(time.Now().Add(max(s.wait, v.idle.After, a.holdFor(s))))
		return
	}
	v.fired(time.Now(), err == nil || s != nil)
}

// holdFor is how long it makes no sense to try again for that reason.
func (a *Agent) holdFor(s *skip) time.Duration {
	if s.class == ClassUnsettled {
		return a.Config().Limits.Settle.Duration
	}
	return 0
}

// checkpointIdle makes one checkpoint of an idle container, if there is reason to.
func (a *Agent) checkpointIdle(ctx context.Context, t *tracked, reason string) error {
	if s := a.spare(t); s != nil {
		a.decide(t.Facts, Decision{
			Action: ActionCheckpoint, Outcome: Skipped, Trigger: policy.Idle, Reason: s.reason, Class: s.class,
		})
		return s
	}
	_, err := a.Checkpoint(ctx, t.ID, policy.Idle, reason)
	return err
}

// suspendIdle puts an idle container to sleep, unless that must not be.
func (a *Agent) suspendIdle(ctx context.Context, t *tracked, reason string) error {
	if err := a.sleepless(ctx, t); err != nil {
		a.decide(t.Facts, Decision{
			Action: ActionSuspend, Outcome: Refused, Trigger: policy.Idle, Class: ClassUnsupported, Reason: err.Error(),
		})
		return err
	}
	return a.Suspend(ctx, t.ID, reason)
}

// sleepless says why a container must not be suspended, although it is idle: the
// dump of it would be refused, or could not be restored, and it would have stood
// still for nothing.
func (a *Agent) sleepless(ctx context.Context, t *tracked) error {
	p, err := a.look(ctx, t)
	if err != nil {
		return fmt.Errorf("it cannot be looked at: %w", err)
	}
	if blockers := p.blockers(); blockers != "" {
		return errors.New(blockers)
	}
	return nil
}
