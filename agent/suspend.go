package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

const (
	// suspendTimeout bounds what a suspension takes beside the dump and its commit.
	suspendTimeout = time.Minute
	// resumeGrace is what a resume may take over its own limit before the shim is
	// given up.
	resumeGrace = 30 * time.Second
)

// errNotSuspending is returned to a shim that asks for a checkpoint of a
// container that nobody is suspending.
var errNotSuspending = errors.New("the container is not being suspended")

// Suspend puts a running container to sleep where it is, and returns when its
// memory is given back; reason says in words why. One that sleeps already is
// left as it is. When it fails, the container runs on. The outcome is a decision
// that is kept and logged.
func (a *Agent) Suspend(ctx context.Context, id, reason string) error {
	t := a.container(id)
	if t == nil {
		return fmt.Errorf("suspend container %.12s: %w", id, ErrNotRunning)
	}
	if t.asleep() {
		// Its shim notes that it woke before we are told.
		a.noteSuspension(t)
	}
	if t.asleep() {
		return nil
	}
	began := time.Now()
	err := a.suspend(ctx, t, reason)
	d := Decision{Action: ActionSuspend, Outcome: Taken, Trigger: policy.Idle, Took: time.Since(began)}
	if err != nil {
		d.Outcome, d.Reason, d.Class = Failed, err.Error(), classOf(err)
		if s := (*skip)(nil); errors.As(err, &s) {
			d.Outcome = Skipped
		}
		a.decide(t.Facts, d)
		return fmt.Errorf("suspend container %s: %w", t.Name, err)
	}
	a.metrics.suspended(d.Took)
	s := t.lastSuspension()
	d.Checkpoint = s.Checkpoint
	d.Reason = fmt.Sprintf("%s (asleep after %s, %d sockets kept open)", reason, d.Took.Round(time.Millisecond), len(s.Sockets))
	a.decide(t.Facts, d)
	a.dropCache(ctx, d.Checkpoint)
	return nil
}

// dropCache gives the page cache of a checkpoint back that a container sleeps, or
// slept, in, where the node is configured so.
func (a *Agent) dropCache(ctx context.Context, id string) {
	if a.Config().Sleep.PageCache != conf.DropPageCache {
		return
	}
	c, err := a.store.Find(id)
	if err == nil {
		err = a.store.DropCache(context.WithoutCancel(ctx), c)
	}
	if err != nil {
		log.G(ctx).WithError(err).WithField("checkpoint", id).Warn("drop the page cache")
	}
}

func (a *Agent) suspend(ctx context.Context, t *tracked, reason string) error {
	if s := t.wakeful(); s != nil {
		return s
	}
	limits := a.Config().Limits
	ctx, cancel := context.WithTimeout(ctx, patience+limits.DumpTimeout.Duration+commitTimeout+suspendTimeout)
	defer cancel()
	shim, err := dialShim(ctx, t)
	if err != nil {
		return err
	}
	defer shim.close()
	if !t.fallAsleep() {
		return &skip{class: ClassBusy, reason: "it is being suspended already"}
	}
	_, err = shim.Suspend(ctx, a.suspendRequest(ctx, t, reason))
	a.noteSuspension(t)
	t.fallen()
	if err != nil && !t.asleep() {
		a.discardPlain(t)
		return fmt.Errorf("%w: %w", errDump, errgrpc.ToNative(err))
	}
	return nil
}

// suspendRequest says how the container is to sleep.
func (a *Agent) suspendRequest(ctx context.Context, t *tracked, reason string) *api.SuspendRequest {
	return &api.SuspendRequest{
		ContainerId: t.ID, Reason: reason,
		KeepConnections: t.policy.Sleep.Connections == policy.KeepConnections,
		AnswerProbes:    t.policy.Sleep.Probes == policy.AnswerProbes,
		WakeToStop:      t.policy.Sleep.Stop == policy.WakeToStop,
		ResumeTimeoutNs: int64(a.Config().Limits.RestoreTimeout.Duration),
		ExecProbes:      a.execProbesOf(ctx, t),
	}
}

// wakeful says why a container must not be suspended now; nil when it may.
func (t *tracked) wakeful() *skip {
	switch {
	case t.running() == 0:
		return &skip{class: ClassEnded, reason: "the container does not run"}
	case t.stopping():
		return &skip{class: ClassEnded, reason: "the container is being stopped"}
	case !t.settled.Load():
		return &skip{class: ClassUnsettled, reason: "the restored container has not settled yet"}
	}
	return nil
}

// Suspending makes the checkpoint in which a container is to sleep. Its shim
// asks for it, and the container is left frozen for it.
func (a *Agent) Suspending(ctx context.Context, id, reason string) (store.Checkpoint, error) {
	t := a.container(id)
	if t == nil || !t.fallsAsleep() {
		return store.Checkpoint{}, fmt.Errorf("suspend container %.12s: %w", id, errNotSuspending)
	}
	made, err := a.take(ctx, id, order{trigger: policy.Idle, reason: reason, hold: true})
	if err != nil {
		return store.Checkpoint{}, err
	}
	// It is woken without the daemon, so it gets the key now.
	if err := a.giveKey(id, made[0].Manifest); err != nil {
		return store.Checkpoint{}, err
	}
	t.sleepIn(made[0].ID)
	return made[0], nil
}

// Resume wakes a suspended container, and returns when it runs; reason says in
// words why. One that is awake is left as it is. A container that cannot be woken
// has ended, and the runtime creates it anew.
func (a *Agent) Resume(ctx context.Context, id, reason string) error {
	t := a.container(id)
	if t == nil {
		return fmt.Errorf("resume container %.12s: %w", id, ErrNotRunning)
	}
	ctx, cancel := context.WithTimeout(ctx, a.Config().Limits.RestoreTimeout.Duration+resumeGrace)
	defer cancel()
	shim, err := dialShim(ctx, t)
	if err == nil {
		defer shim.close()
		// The shim tells of the outcome, as it does whoever has woken it.
		_, err = shim.Resume(ctx, &api.ResumeRequest{ContainerId: id, Reason: reason})
	}
	if err != nil {
		return fmt.Errorf("resume container %s: %w", t.Name, errgrpc.ToNative(err))
	}
	return nil
}

// Woken notes that a suspended container runs again, or could not be woken.
func (a *Agent) Woken(ctx context.Context, id string) {
	t := a.container(id)
	if t == nil {
		return
	}
	before := t.lastSuspension()
	a.noteSuspension(t)
	s := t.lastSuspension()
	if s.Wake == nil || before.Wake != nil && before.Wake.At.Equal(s.Wake.At) {
		return // told twice
	}
	d := Decision{
		Action: ActionResume, Outcome: Taken, Checkpoint: s.Checkpoint, Took: s.Wake.Took,
		Reason: fmt.Sprintf("%s (awake after %s)", s.Wake.Reason, s.Wake.Took.Round(time.Millisecond)),
	}
	switch {
	case s.Wake.Error != "" && s.Asleep:
		d.Outcome, d.Class, d.Took = Skipped, ClassMemory, 0
		d.Reason = fmt.Sprintf("%s, but it sleeps on and is tried again: %s", s.Wake.Reason, s.Wake.Error)
	case s.Wake.Error != "":
		d.Outcome, d.Class = Failed, ClassRestore
		a.keepLog(t, d, logsIn(t.dir.Work(), criu.RestoreLog))
		d.Reason = fmt.Sprintf("%s, but it could not be woken and has ended: %s", s.Wake.Reason, s.Wake.Error)
	}
	if d.Outcome == Taken {
		a.metrics.resumed(d.Took)
		a.dropCache(ctx, d.Checkpoint)
	}
	a.decide(t.Facts, d)
}

// noteSuspension learns from the shim's record whether a container sleeps. That it
// has woken may be heard of when it is being suspended again.
func (a *Agent) noteSuspension(t *tracked) {
	var s api.Suspension
	err := t.dir.Read(&s)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.G(a.ctx).WithError(err).WithField("container", t.ID).Warn("learn whether the container sleeps")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.Asleep {
		t.fell = s.Since
	}
	if t.falling && !s.Asleep {
		s.Checkpoint = t.suspension.Checkpoint
	}
	if s.Asleep != t.suspension.Asleep && t.turned != nil {
		defer close(t.turned)
		t.turned = nil
	}
	t.suspension = s
	switch {
	case s.Asleep:
		t.pid = 0
	case s.Pid != 0 && t.stop != nil: // not ended
		t.pid = s.Pid
		// Its CPU time counts from zero in its new control group.
		t.last = standstill{}
	}
}

// describeSuspension puts the container's sleep into the form of the control
// protocol; nil when it was never suspended.
func (t *tracked) describeSuspension() *api.SuspensionReport {
	s := t.lastSuspension()
	if s.Since.IsZero() {
		return nil
	}
	r := &api.SuspensionReport{
		Asleep: s.Asleep, SinceNs: s.Since.UnixNano(), Checkpoint: s.Checkpoint, Sockets: s.Sockets, Times: int64(s.Times),
	}
	switch {
	case s.Wake != nil && s.Asleep && s.Wake.Error != "":
		r.HeldBack = s.Wake.Error
	case s.Wake != nil:
		r.WokenBy, r.WakeNs = s.Wake.Reason, int64(s.Wake.Took)
	}
	return r
}

// lastSuspension returns what is known of the container's sleep.
func (t *tracked) lastSuspension() api.Suspension {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.suspension
}

// asleep tells whether the container is suspended.
func (t *tracked) asleep() bool { return t.lastSuspension().Asleep }

// fallAsleep notes that the container is being suspended; false when it is
// already.
func (t *tracked) fallAsleep() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.falling {
		return false
	}
	t.falling = true
	return true
}

// fallen notes the end of a suspension, whether it came about or not.
func (t *tracked) fallen() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.falling = false
}

func (t *tracked) fallsAsleep() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.falling
}

// sleepIn keeps a checkpoint for a container that is about to sleep in it.
func (t *tracked) sleepIn(checkpoint string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.suspension.Checkpoint = checkpoint
}

// sleepsIn tells whether the container sleeps in a checkpoint, or is about to.
func (t *tracked) sleepsIn(checkpoint string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return (t.falling || t.suspension.Asleep) && t.suspension.Checkpoint == checkpoint
}
