package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/fail"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

var (
	// ErrNotRunning is returned for a container that is not managed or does not run.
	ErrNotRunning = errors.New("container is not managed or does not run")
	// ErrNoShim is returned for a container whose pod runs on another handler.
	ErrNoShim = errors.New(policy.NoHandler)
	// errDump is the class of what the shim, runc and CRIU return.
	errDump = errors.New("dump")
)

const (
	// commitTimeout bounds hashing and syncing, behind the thaw.
	commitTimeout = 10 * time.Minute
	// shimGrace is what a dump may take over its own limit before the shim is
	// given up.
	shimGrace = 10 * time.Second
)

// Checkpoint makes a checkpoint of a running container and returns when it is
// durable. The container is frozen only while its state is written. Whatever
// goes wrong, it runs on.
func (a *Agent) Checkpoint(ctx context.Context, id string, trigger policy.Trigger, reason string) (store.Checkpoint, error) {
	return a.take(ctx, id, trigger, reason, trigger == policy.Stop)
}

// take makes a checkpoint. With hold, which is for a shim that waits for it, the
// container is left frozen after a good dump.
func (a *Agent) take(ctx context.Context, id string, trigger policy.Trigger, reason string, hold bool) (store.Checkpoint, error) {
	t := a.container(id)
	if t == nil || t.running() == 0 {
		return store.Checkpoint{}, fmt.Errorf("checkpoint container %.12s: %w", id, ErrNotRunning)
	}
	c, err := a.inTurn(ctx, t, trigger, reason, hold)
	if err != nil {
		d := failure(ctx, t, trigger, err)
		if d.Outcome == Failed || d.Outcome == Refused {
			t.failed(d.Reason)
		}
		a.decide(t.Facts, d)
		return store.Checkpoint{}, fmt.Errorf("checkpoint container %s: %w", t.Name, err)
	}
	m := c.Manifest
	d := Decision{
		Action: ActionCheckpoint, Outcome: Taken, Trigger: trigger, Checkpoint: c.ID, Bytes: m.Bytes, Pause: m.Pause,
		Reason: fmt.Sprintf("%s (paused %s)", reason, m.Pause.Round(time.Millisecond)),
	}
	a.decide(t.Facts, d)
	a.keepLog(t, d, logsIn(c.Dir(), criu.DumpLog))
	if t.running() == 0 {
		// It may have ended well while its checkpoint was being written down.
		a.conclude(t)
	}
	a.retire(context.WithoutCancel(ctx), t)
	return c, nil
}

// failure says what a checkpoint that was not made means.
func failure(ctx context.Context, t *tracked, trigger policy.Trigger, err error) Decision {
	d := Decision{Action: ActionCheckpoint, Outcome: Failed, Trigger: trigger, Reason: err.Error(), Class: classOf(err)}
	var s *skip
	switch {
	case errors.As(err, &s):
		d.Outcome = Skipped
	case errors.Is(err, errForbidden):
		d.Outcome, d.Class = Refused, ClassUnsupported
	case trigger != policy.Stop && (ctx.Err() != nil || t.running() == 0):
		// The container ended meanwhile, or the daemon does.
		d.Outcome, d.Class, d.Reason = Skipped, ClassEnded, "the container ended meanwhile: "+d.Reason
	}
	return d
}

// inTurn makes a checkpoint when it is the container's turn.
func (a *Agent) inTurn(ctx context.Context, t *tracked, trigger policy.Trigger, reason string, hold bool) (store.Checkpoint, error) {
	release, err := a.turn(ctx, t, trigger)
	if err != nil {
		return store.Checkpoint{}, err
	}
	defer release()
	return a.checkpoint(ctx, t, trigger, reason, hold)
}

func (a *Agent) checkpoint(ctx context.Context, t *tracked, trigger policy.Trigger, reason string, hold bool) (_ store.Checkpoint, err error) {
	if err := t.dir.Read(&api.Attach{}); err != nil {
		return store.Checkpoint{}, fmt.Errorf("%w (%w)", ErrNoShim, err)
	}
	findings := a.survey(ctx, t)
	if err := forbidden(findings); err != nil {
		return store.Checkpoint{}, err
	}
	// A restore that was cut off may have left its own options.
	if err := a.writeOptions(t); err != nil {
		return store.Checkpoint{}, err
	}
	need := footprint(t.running())
	if err := a.afford(trigger, need); err != nil {
		return store.Checkpoint{}, err
	}
	staging, err := a.store.Begin(ctx, t.lineage, need)
	if err != nil {
		return store.Checkpoint{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, staging.Abort())
		}
	}()
	before, _ := criu.CPUTime(t.running())
	dump, err := a.dump(ctx, t, &api.DumpRequest{ContainerId: t.ID, Dir: staging.Dir(), Hold: hold, FileLimit: a.room(need)})
	if err != nil {
		after, _ := criu.CPUTime(t.running())
		t.dumped(before, after)
		err = foreseen(err, findings)
		a.keepLog(t, failure(ctx, t, trigger, err), logsIn(staging.Dir(), criu.DumpLog))
		return store.Checkpoint{}, err
	}
	t.dumped(before, time.Duration(dump.CpuNs))
	used := t.goingOn(time.Duration(dump.CpuNs))
	if err := fail.CheckpointDumped.Hit(); err != nil {
		return store.Checkpoint{}, err
	}
	commit := ctx
	if !hold {
		// The container goes on; its checkpoint is worth finishing even if
		// nobody waits for it any more.
		commit = context.WithoutCancel(ctx)
	}
	commit, cancel := context.WithTimeout(commit, commitTimeout)
	defer cancel()
	began := time.Now()
	c, err := staging.Commit(commit, a.manifest(t, trigger, reason, !hold, dump))
	if err != nil {
		return store.Checkpoint{}, err
	}
	a.metrics.committed(time.Since(began), c.Manifest)
	a.correct(c.Bytes - need)
	t.succeeded(c, <-used)
	return c, nil
}

// dump asks the shim, and sees to it that the container is not left frozen when
// the shim does not answer.
func (a *Agent) dump(ctx context.Context, t *tracked, request *api.DumpRequest) (*api.DumpResponse, error) {
	limits := a.Config().Limits
	// The dump itself is bounded by the shim. That nobody waits for it any more is
	// no reason to end it.
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), limits.DumpTimeout.Duration+limits.ExecWait.Duration+shimGrace)
	defer cancel()
	shim, err := dialShim(call, t)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDump, err)
	}
	defer shim.close()
	request.TimeoutNs = int64(limits.DumpTimeout.Duration)
	request.ExecWaitNs = int64(limits.ExecWait.Duration)
	resp, err := shim.Dump(call, request)
	if err != nil {
		if freezer, ferr := criu.FreezerOf(t.running()); ferr == nil {
			err = errors.Join(err, freezer.Thaw())
		}
		return nil, fmt.Errorf("%w: %w", errDump, err)
	}
	return resp, nil
}

func (a *Agent) manifest(t *tracked, trigger policy.Trigger, reason string, goesOn bool, dump *api.DumpResponse) store.Manifest {
	return store.Manifest{
		Node: a.node.Name, BootID: a.node.BootID, Kernel: a.node.Kernel, Arch: a.node.Arch,
		CPUDigest: a.node.CPUDigest, CRIU: a.node.CRIU, Runc: a.node.Runc,
		PodName: t.Pod, PodUID: t.PodUID, SandboxID: t.Sandbox, ContainerID: t.ID,
		ImageName: t.Image, ImageDigest: t.ImageDigest, Fingerprint: t.Fingerprint,
		Trigger: string(trigger), Reason: reason, LeaveRunning: goesOn, RestoredFrom: t.RestoredFrom,
		Pause: time.Duration(dump.PauseNs), Dump: time.Duration(dump.DumpNs),
	}
}

// room is how many bytes of files a dump may add to its memory, which needs so
// many, without taking the space that must stay free.
func (a *Agent) room(need int64) int64 {
	space, err := a.store.Space()
	if err != nil {
		return 0
	}
	return max(0, space.Free-need-int64(a.Config().Store.MinFree))
}

// footprint estimates how much a dump will write, in bytes: the resident memory
// of the container's processes.
func footprint(pid int) int64 {
	var pages int64
	for _, pid := range processes(pid) {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			continue
		}
		var size, resident int64
		if _, err := fmt.Sscan(string(data), &size, &resident); err == nil {
			pages += resident
		}
	}
	return pages * int64(os.Getpagesize())
}

// processes lists those of the container whose init has that id.
func processes(pid int) []int {
	freezer, err := criu.FreezerOf(pid)
	if err != nil {
		return nil
	}
	pids, err := freezer.Processes()
	if err != nil {
		return nil
	}
	return pids
}
