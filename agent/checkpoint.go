package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/log"
	"github.com/containerd/ttrpc"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

var (
	// ErrNotRunning is returned for a container that is not managed or does not run.
	ErrNotRunning = errors.New("container is not managed or does not run")
	// ErrBusy is returned while another checkpoint of the container is made.
	ErrBusy = errors.New("another checkpoint of this container is being made")
	// ErrNoShim is returned for a container whose pod runs on another handler.
	ErrNoShim = errors.New("the pod does not run on the rekindle runtime handler; set runtimeClassName")
	// errDump is the class of what the shim, runc and CRIU return.
	errDump = errors.New("dump")
)

const (
	// commitTimeout bounds hashing and syncing, behind the thaw.
	commitTimeout = 10 * time.Minute
	// shimGrace is what a dump may take over its own limit before the shim is
	// given up.
	shimGrace = 10 * time.Second
	// keptLog bounds the copy of a failed dump's log.
	keptLog = 1 << 20
)

// Checkpoint makes a checkpoint of a running container and returns when it is
// durable. The container is frozen only while its state is written. Whatever
// goes wrong, it runs on.
func (a *Agent) Checkpoint(ctx context.Context, id string, trigger policy.Trigger, reason string) (store.Checkpoint, error) {
	t := a.container(id)
	if t == nil || t.running() == 0 {
		return store.Checkpoint{}, fmt.Errorf("checkpoint container %.12s: %w", id, ErrNotRunning)
	}
	if !t.turn(ctx, trigger) {
		a.decide(t.Facts, Decision{Action: ActionCheckpoint, Outcome: Skipped, Trigger: trigger, Reason: ErrBusy.Error(), Class: ClassBusy})
		return store.Checkpoint{}, fmt.Errorf("checkpoint container %.12s: %w", id, ErrBusy)
	}
	defer t.dumping.Release(1)
	c, err := a.checkpoint(ctx, t, trigger, reason)
	if err != nil {
		a.decide(t.Facts, failure(ctx, t, trigger, err))
		return store.Checkpoint{}, fmt.Errorf("checkpoint container %s: %w", t.Name, err)
	}
	m := c.Manifest
	a.decide(t.Facts, Decision{
		Action: ActionCheckpoint, Outcome: Taken, Trigger: trigger, Checkpoint: c.ID, Bytes: m.Bytes, Pause: m.Pause,
		Reason: fmt.Sprintf("%s (paused %s)", reason, m.Pause.Round(time.Millisecond)),
	})
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
	if trigger != policy.Stop && (ctx.Err() != nil || t.running() == 0) {
		// The container ended meanwhile, or the daemon does.
		d.Outcome, d.Class, d.Reason = Skipped, ClassEnded, "the container ended meanwhile: "+d.Reason
	}
	return d
}

// turn waits for another checkpoint of the container to end. Only the stop
// trigger does: for it there is no later.
func (t *tracked) turn(ctx context.Context, trigger policy.Trigger) bool {
	if trigger == policy.Stop {
		return t.dumping.Acquire(ctx, 1) == nil
	}
	return t.dumping.TryAcquire(1)
}

func (a *Agent) checkpoint(ctx context.Context, t *tracked, trigger policy.Trigger, reason string) (_ store.Checkpoint, err error) {
	var attach api.Attach
	if err := t.dir.Read(&attach); err != nil {
		return store.Checkpoint{}, fmt.Errorf("%w (%w)", ErrNoShim, err)
	}
	if err := a.dumps.Acquire(ctx, 1); err != nil {
		return store.Checkpoint{}, fmt.Errorf("wait for other dumps: %w", err)
	}
	defer a.dumps.Release(1)
	// A restore that was cut off may have left its own options.
	if err := a.writeOptions(t); err != nil {
		return store.Checkpoint{}, err
	}
	need := footprint(t.running())
	staging, err := a.store.Begin(ctx, t.lineage, need)
	if err != nil {
		return store.Checkpoint{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, staging.Abort())
		}
	}()
	hold := trigger == policy.Stop
	dump, err := a.dump(ctx, t, attach, &api.DumpRequest{ContainerId: t.ID, Dir: staging.Dir(), Hold: hold, FileLimit: a.room(need)})
	if err != nil {
		t.keepLog(staging.Dir())
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
	c, err := staging.Commit(commit, a.manifest(t, trigger, reason, dump))
	if err == nil {
		a.metrics.committed(time.Since(began), c.Manifest)
	}
	return c, err
}

// dump asks the shim, and sees to it that the container is not left frozen when
// the shim does not answer.
func (a *Agent) dump(ctx context.Context, t *tracked, attach api.Attach, request *api.DumpRequest) (*api.DumpResponse, error) {
	limits := a.Config().Limits
	// The dump itself is bounded by the shim. That nobody waits for it any more is
	// no reason to end it.
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), limits.DumpTimeout.Duration+limits.ExecWait.Duration+shimGrace)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(call, "unix", strings.TrimPrefix(attach.Address, "unix://"))
	if err != nil {
		return nil, fmt.Errorf("%w: reach the shim: %w", errDump, err)
	}
	client := ttrpc.NewClient(conn)
	defer client.Close()
	request.TimeoutNs = int64(limits.DumpTimeout.Duration)
	request.ExecWaitNs = int64(limits.ExecWait.Duration)
	resp, err := api.NewShimClient(client).Dump(call, request)
	if err != nil {
		if freezer, ferr := criu.FreezerOf(t.running()); ferr == nil {
			err = errors.Join(err, freezer.Thaw())
		}
		return nil, fmt.Errorf("%w: %w", errDump, err)
	}
	return resp, nil
}

func (a *Agent) manifest(t *tracked, trigger policy.Trigger, reason string, dump *api.DumpResponse) store.Manifest {
	return store.Manifest{
		Node: a.node.Name, BootID: a.node.BootID, Kernel: a.node.Kernel, Arch: a.node.Arch,
		CPUDigest: a.node.CPUDigest, CRIU: a.node.CRIU, Runc: a.node.Runc,
		PodName: t.Pod, PodUID: t.PodUID, SandboxID: t.Sandbox, ContainerID: t.ID,
		ImageName: t.Image, ImageDigest: t.ImageDigest, Fingerprint: t.Fingerprint,
		Trigger: string(trigger), Reason: reason, LeaveRunning: trigger != policy.Stop, RestoredFrom: t.RestoredFrom,
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
	freezer, err := criu.FreezerOf(pid)
	if err != nil {
		return 0
	}
	pids, err := freezer.Processes()
	if err != nil {
		return 0
	}
	var pages int64
	for _, pid := range pids {
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

// keepLog saves the log of a failed dump in the run directory, where the next
// one replaces it.
func (t *tracked) keepLog(staging string) {
	f, err := os.Open(filepath.Join(staging, criu.DumpLog))
	if err != nil {
		return
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, keptLog))
	if err == nil {
		err = t.dir.WriteFile("dump.log", data)
	}
	if err != nil {
		log.L.WithError(err).WithField("container", t.ID).Warn("keep the dump's log")
	}
}
