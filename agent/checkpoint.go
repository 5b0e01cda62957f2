package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

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
// goes wrong, it runs on. Where the policy asks for the consistency of the pod,
// the others of the pod are checkpointed with it, all or none. The container's
// own checkpoint is the first of the result.
func (a *Agent) Checkpoint(ctx context.Context, id string, trigger policy.Trigger, reason string) ([]store.Checkpoint, error) {
	t := a.container(id)
	return a.take(ctx, id, order{trigger: trigger, reason: reason, hold: trigger == policy.Stop, set: t != nil && t.consistent()})
}

// order is what checkpoint is to be made, and why.
type order struct {
	trigger policy.Trigger
	reason  string
	// hold leaves the containers frozen after a good dump, for shims that wait for
	// it.
	hold bool
	// set takes the others of the pod with the container.
	set bool
}

// take makes the checkpoint that is ordered of a running container.
func (a *Agent) take(ctx context.Context, id string, o order) ([]store.Checkpoint, error) {
	t := a.container(id)
	if t == nil || t.running() == 0 {
		return nil, fmt.Errorf("checkpoint container %.12s: %w", id, ErrNotRunning)
	}
	set := []*tracked{t}
	release, err := a.turn(ctx, t, o.trigger)
	if err == nil {
		defer release()
		if o.set {
			set, err = a.together(t), a.sleeper(t)
		}
	}
	return a.takeSet(ctx, set, o, err)
}

// takeSet makes the checkpoints of containers, whose turn it is unless there was
// an error, and notes with each what became of it.
func (a *Agent) takeSet(ctx context.Context, set []*tracked, o order, err error) ([]store.Checkpoint, error) {
	var made []store.Checkpoint
	if err == nil {
		made, err = a.checkpoint(ctx, set, o)
		for _, t := range set[1:] {
			t.countAnew()
		}
	}
	if err != nil {
		d := failure(ctx, set, o.trigger, err)
		for _, t := range set {
			if d.Outcome == Failed || d.Outcome == Refused {
				t.failed(d.Reason)
			}
			a.decide(t.Facts, d)
		}
		return nil, fmt.Errorf("checkpoint container %s: %w", set[0].Name, err)
	}
	for i, c := range made {
		a.made(set[i], c, o)
	}
	for _, t := range set {
		a.retire(context.WithoutCancel(ctx), t)
	}
	return made, nil
}

// made tells of a new checkpoint.
func (a *Agent) made(t *tracked, c store.Checkpoint, o order) {
	m := c.Manifest
	d := Decision{
		Action: ActionCheckpoint, Outcome: Taken, Trigger: o.trigger, Checkpoint: c.ID, Bytes: m.Bytes, Pause: m.Pause,
		Reason: fmt.Sprintf("%s (paused %s%s)", o.reason, m.Pause.Round(time.Millisecond), inSet(m)),
	}
	a.decide(t.Facts, d)
	a.keepLog(t, d, logsIn(c.Dir(), criu.DumpLog))
	if t.running() == 0 {
		// It may have ended well while its checkpoint was being written down.
		a.conclude(t)
	}
}

// failure says what a checkpoint that was not made means.
func failure(ctx context.Context, set []*tracked, trigger policy.Trigger, err error) Decision {
	d := Decision{Action: ActionCheckpoint, Outcome: Failed, Trigger: trigger, Reason: err.Error(), Class: classOf(err)}
	var s *skip
	switch {
	case errors.As(err, &s):
		d.Outcome = Skipped
	case errors.Is(err, errForbidden):
		d.Outcome, d.Class = Refused, ClassUnsupported
	case trigger != policy.Stop && (ctx.Err() != nil || slices.ContainsFunc(set, func(t *tracked) bool { return t.running() == 0 })):
		// The container ended meanwhile, or the daemon does.
		d.Outcome, d.Class, d.Reason = Skipped, ClassEnded, "the container ended meanwhile: "+d.Reason
	}
	return d
}

// draft is the checkpoint of one container in the making.
type draft struct {
	*tracked
	findings []criu.Finding
	// need is about how many bytes its memory takes.
	need int64
	// before is what it had used of the CPU before the dump.
	before  time.Duration
	staging *store.Staging
	// dir is where it is dumped, and plain where that is in memory.
	dir   string
	plain api.Plain
	dump  *api.DumpResponse
	// used is what the container has used when it waits again.
	used <-chan time.Duration
}

// checkpoint dumps containers in one pause, and commits the result: a checkpoint
// of each, in the same order, or none.
func (a *Agent) checkpoint(ctx context.Context, set []*tracked, o order) (_ []store.Checkpoint, err error) {
	drafts, err := a.prepare(ctx, set)
	if err != nil {
		return nil, err
	}
	if err := a.afford(o.trigger, needOf(drafts)); err != nil {
		return nil, err
	}
	defer func() {
		for _, d := range drafts {
			if err != nil && d.staging != nil {
				err = errors.Join(err, d.staging.Abort())
			}
			if d.plain != "" {
				err = errors.Join(err, d.plain.Discard())
			}
		}
	}()
	for _, d := range drafts {
		if err = a.makeRoom(ctx, d.lineage, d.need); err != nil {
			return nil, err
		}
		if d.staging, err = a.store.Begin(ctx, d.lineage, d.need); err != nil {
			return nil, err
		}
		if d.dir, d.plain, err = a.dumpInto(d.staging, d.need); err != nil {
			return nil, err
		}
	}
	for _, d := range drafts {
		d.before, _ = criu.CPUTime(d.running())
	}
	if err := a.dump(ctx, drafts, o.hold); err != nil {
		for _, d := range drafts {
			after, _ := criu.CPUTime(d.running())
			d.dumped(d.before, after)
			err = foreseen(err, d.findings)
			a.keepLog(d.tracked, failure(ctx, set, o.trigger, err), logsIn(d.dir, criu.DumpLog))
		}
		return nil, err
	}
	for _, d := range drafts {
		d.dumped(d.before, time.Duration(d.dump.CpuNs))
		d.used = d.goingOn(time.Duration(d.dump.CpuNs))
	}
	if err := fail.CheckpointDumped.Hit(); err != nil {
		return nil, err
	}
	commit := ctx
	if !o.hold {
		// The container goes on; its checkpoint is worth finishing even if
		// nobody waits for it any more.
		commit = context.WithoutCancel(ctx)
	}
	commit, cancel := context.WithTimeout(commit, commitTimeout)
	defer cancel()
	return a.commit(commit, drafts, o)
}

// prepare sees to it that nothing is in the way of a dump, as far as can be told
// while the containers run.
func (a *Agent) prepare(ctx context.Context, set []*tracked) ([]*draft, error) {
	var drafts []*draft
	for _, t := range set {
		d := &draft{tracked: t}
		if err := t.dir.Read(&api.Attach{}); err != nil {
			return nil, fmt.Errorf("%w (%w)", ErrNoShim, err)
		}
		d.findings = a.survey(ctx, t)
		if err := forbidden(d.findings); err != nil {
			return nil, ofSet(set, t, err)
		}
		// A restore that was cut off may have left its own options.
		if err := a.writeOptions(t); err != nil {
			return nil, err
		}
		d.need = footprint(t.running())
		drafts = append(drafts, d)
	}
	return drafts, nil
}

// needOf is about how many bytes the memory of all takes.
func needOf(drafts []*draft) int64 {
	var need int64
	for _, d := range drafts {
		need += d.need
	}
	return need
}

// commit makes checkpoints of what was dumped. When one cannot be committed, the
// others are removed again.
func (a *Agent) commit(ctx context.Context, drafts []*draft, o order) ([]store.Checkpoint, error) {
	began := time.Now()
	var members []store.Member
	if o.set {
		members = membersOf(drafts)
	}
	made := make([]store.Checkpoint, len(drafts))
	var group errgroup.Group
	for i, d := range drafts {
		group.Go(func() (err error) {
			m := a.manifest(d.tracked, o, d.dump)
			m.Set = members
			if d.plain != "" {
				if m.Encryption, err = a.encrypt(ctx, d.staging, d.dir); err != nil {
					return err
				}
			}
			made[i], err = d.staging.Commit(ctx, m)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		for _, c := range made {
			if c.ID != "" {
				err = errors.Join(err, a.store.Remove(context.WithoutCancel(ctx), c.ID))
			}
		}
		return nil, err
	}
	for i, d := range drafts {
		c := made[i]
		a.metrics.committed(time.Since(began), c.Manifest)
		a.correct(c.Bytes - d.need)
		d.succeeded(c, <-d.used)
		a.unpacked.add(c.Lineage)
	}
	return made, nil
}

// dump asks the shim, and sees to it that no container is left frozen when the
// shim does not answer. All containers of a pod have the same shim.
func (a *Agent) dump(ctx context.Context, drafts []*draft, hold bool) error {
	limits := a.Config().Limits
	// The dump itself is bounded by the shim. That nobody waits for it any more is
	// no reason to end it.
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), limits.DumpTimeout.Duration+limits.ExecWait.Duration+shimGrace)
	defer cancel()
	shim, err := dialShim(call, drafts[0].tracked)
	if err != nil {
		return fmt.Errorf("%w: %w", errDump, err)
	}
	defer shim.close()
	room := a.room(needOf(drafts))
	if drafts[0].plain != "" {
		room = min(room, plainRoom(needOf(drafts)))
	}
	room /= int64(len(drafts))
	request := &api.DumpSetRequest{TimeoutNs: int64(limits.DumpTimeout.Duration), ExecWaitNs: int64(limits.ExecWait.Duration)}
	for _, d := range drafts {
		request.Members = append(request.Members, &api.DumpRequest{
			ContainerId: d.ID, Dir: d.dir, Hold: hold, FileLimit: room,
			TimeoutNs: request.TimeoutNs, ExecWaitNs: request.ExecWaitNs,
		})
	}
	dumps, err := askShim(call, shim, request)
	if err != nil {
		for _, d := range drafts {
			if freezer, ferr := criu.FreezerOf(d.running()); ferr == nil {
				err = errors.Join(err, freezer.Thaw())
			}
			a.thawLeftover(context.WithoutCancel(ctx), d.tracked)
		}
		return fmt.Errorf("%w: %w", errDump, err)
	}
	for i, d := range drafts {
		d.dump = dumps[i]
	}
	return nil
}

// askShim has containers dumped: one by the call that shims of every version
// know, for a pod keeps the shim that it was started with.
func askShim(ctx context.Context, shim api.ShimService, r *api.DumpSetRequest) ([]*api.DumpResponse, error) {
	if len(r.Members) == 1 {
		resp, err := shim.Dump(ctx, r.Members[0])
		return []*api.DumpResponse{resp}, err
	}
	resp, err := shim.DumpSet(ctx, r)
	if err == nil && len(resp.Members) != len(r.Members) {
		err = fmt.Errorf("the shim answers for %d containers of %d", len(resp.Members), len(r.Members))
	}
	return resp.GetMembers(), err
}

func (a *Agent) manifest(t *tracked, o order, dump *api.DumpResponse) store.Manifest {
	return store.Manifest{
		Node: a.node.Name, BootID: a.node.BootID, Kernel: a.node.Kernel, Arch: a.node.Arch,
		CPUFeatures: a.node.CPUFeatures, CRIU: a.node.CRIU, Runc: a.node.Runc, Cgroup: a.node.Cgroup,
		PodName: t.Pod, PodUID: t.PodUID, SandboxID: t.Sandbox, ContainerID: t.ID,
		ImageName: t.Image, ImageDigest: t.ImageDigest, Fingerprint: t.Fingerprint,
		Trigger: string(o.trigger), Reason: o.reason, LeaveRunning: !o.hold, RestoredFrom: t.RestoredFrom,
		Pause: time.Duration(dump.PauseNs), Dump: time.Duration(dump.DumpNs),
	}
}
