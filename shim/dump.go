package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/sys/reaper"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/fail"
)

// freezeTimeout bounds the freeze alone; a process in uninterruptible sleep
// cannot be frozen, and the others must not wait for it.
const freezeTimeout = 2 * time.Second

// errAsleep is returned for a container without processes, since it sleeps.
var errAsleep = fmt.Errorf("the container sleeps: %w", errdefs.ErrFailedPrecondition)

// Dump writes the container's memory, changed files and /dev/shm below r.Dir,
// all of one moment: the container is frozen once, and thawed whatever happens.
func (s *Service) Dump(ctx context.Context, r *api.DumpRequest) (*api.DumpResponse, error) {
	c := s.managed(r.ContainerId)
	if c == nil {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "container %.64q is not managed", r.ContainerId)
	}
	if r.Hold && !c.dumpAwaited() {
		return nil, errgrpc.ToGRPC(errNobodyWaits)
	}
	ctx, release := c.busy(ctx)
	defer release()
	pid, err := s.runningPid(ctx, c)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	freezer, err := criu.FreezerOf(pid)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	if err := c.shut(ctx, freezer, pid, time.Duration(r.ExecWaitNs)); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	resp, held, err := s.dump(ctx, c, pid, freezer, r)
	if !held {
		c.gate.Unlock()
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return resp, nil
}

// runningPid returns the container's init; an error when it does not run, or sleeps.
func (s *Service) runningPid(ctx context.Context, c *container) (int, error) {
	if c.asleep() != nil {
		return 0, errAsleep
	}
	state, err := s.TTRPCTaskService.State(ctx, &taskAPI.StateRequest{ID: c.id})
	if err != nil {
		return 0, err
	}
	if state.Status != task.Status_RUNNING {
		return 0, fmt.Errorf("container is %s: %w", state.Status, errdefs.ErrFailedPrecondition)
	}
	return int(state.Pid), nil
}

// dump returns with the container thawed, or held: frozen, and the gate closed,
// for whoever waits for that.
func (s *Service) dump(ctx context.Context, c *container, pid int, freezer criu.Freezer, r *api.DumpRequest) (_ *api.DumpResponse, held bool, err error) {
	if err := copySpec(c.bundle, r.Dir); err != nil {
		return nil, false, err
	}
	freezeCtx, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	began := time.Now()
	if err := freezer.Freeze(freezeCtx); err != nil {
		return nil, false, fmt.Errorf("%w: %w", errdefs.ErrUnavailable, err)
	}
	defer func() {
		if held {
			return
		}
		if terr := thaw(ctx, freezer, c.id); terr != nil {
			err = errors.Join(err, terr)
		}
	}()
	if err := fail.DumpFrozen.Hit(); err != nil {
		return nil, false, err
	}
	took, err := s.capture(ctx, c, r)
	if err == nil {
		err = fail.DumpCaptured.Hit()
	}
	if err != nil {
		return nil, false, err
	}
	// CRIU has code of its own run in the container's processes, and is done now:
	// what is read here is what they had used when they go on. Without the
	// reading (0) nobody can tell later that they stood still.
	used, _ := criu.CPUTime(pid)
	if r.Hold {
		if !c.hold(freezer) {
			return nil, false, errNobodyWaits
		}
		held = true
	} else if err := thaw(ctx, freezer, c.id); err != nil {
		return nil, false, err
	}
	return &api.DumpResponse{PauseNs: int64(time.Since(began)), DumpNs: int64(took), CpuNs: int64(used)}, held, nil
}

// capture copies the files while CRIU writes the memory; both belong to the
// same freeze. It returns how long CRIU took.
func (s *Service) capture(ctx context.Context, c *container, r *api.DumpRequest) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.TimeoutNs))
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	var took time.Duration
	group.Go(func() error {
		began := time.Now()
		err := criu.Dump(ctx, startReaped, c.runtime, c.id, r.Dir)
		took = time.Since(began)
		return err
	})
	parts := map[string]string{rootfsPart: c.upper, shmPart: c.spec.shm(s.sandbox)}
	group.Go(func() error {
		for part, src := range parts {
			if err := captureTree(ctx, filepath.Join(r.Dir, part), src, r.FileLimit); err != nil {
				return err
			}
		}
		return nil
	})
	err := group.Wait()
	return took, err
}

// captureTree copies one tree of at most limit bytes.
func captureTree(ctx context.Context, dst, src string, limit int64) error {
	if src == "" {
		return nil
	}
	if err := os.Mkdir(dst, 0o700); err != nil {
		return fmt.Errorf("capture files: %w", err)
	}
	if _, err := copyTree(ctx, dst, src, limit, false); err != nil {
		return fmt.Errorf("capture files: %w", err)
	}
	return nil
}

// thaw lets the container go on; it does not give up at the first error, since
// nothing is worse than a workload that stands still.
func thaw(ctx context.Context, f criu.Freezer, id string) error {
	var err error
	for range 50 {
		if err = f.Thaw(); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	log.G(ctx).WithError(err).WithField("container", id).Error("container stays frozen; write THAWED to its freezer.state, or 0 to its cgroup.freeze")
	return fmt.Errorf("thaw container: %w", err)
}

func copySpec(bundle, dir string) error {
	data, err := os.ReadFile(filepath.Join(bundle, specPart))
	if err != nil {
		return fmt.Errorf("copy spec: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, specPart), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("copy spec: %w", err)
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("copy spec: %w", err)
	}
	return nil
}

// startReaped starts a command whose exit is collected by the shim's reaper.
func startReaped(cmd *exec.Cmd) (func() (int, error), error) {
	exits, err := reaper.Default.Start(cmd)
	if err != nil {
		return nil, err
	}
	return func() (int, error) { return reaper.Default.Wait(cmd, exits) }, nil
}
