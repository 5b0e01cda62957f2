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

// errChanged is returned for a container whose processes are others than when the
// dump was asked for.
var errChanged = fmt.Errorf("the container's processes have changed meanwhile: %w", errdefs.ErrUnavailable)

// subject is one container that is being dumped.
type subject struct {
	*container
	request *api.DumpRequest
	pid     int
	freezer criu.Freezer
	// frozen is when the freeze began; zero before.
	frozen time.Time
	// left is set when whoever waits for the dump thaws the container and opens its
	// gate.
	left bool
	took time.Duration
	// cpu is the CPU time at the end of the pause; 0 when it could not be read.
	cpu time.Duration
}

// Dump writes the container's memory, changed files and /dev/shm below r.Dir,
// all of one moment: the container is frozen once, and thawed whatever happens.
func (s *Service) Dump(ctx context.Context, r *api.DumpRequest) (*api.DumpResponse, error) {
	resp, err := s.DumpSet(ctx, &api.DumpSetRequest{
		Members: []*api.DumpRequest{r}, TimeoutNs: r.TimeoutNs, ExecWaitNs: r.ExecWaitNs,
	})
	if err != nil {
		return nil, err
	}
	return resp.Members[0], nil
}

// DumpSet does the same to several containers, all of one moment.
func (s *Service) DumpSet(ctx context.Context, r *api.DumpSetRequest) (*api.DumpSetResponse, error) {
	var set []*subject
	for _, m := range r.Members {
		c := s.managed(m.ContainerId)
		if c == nil {
			return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "container %.64q is not managed", m.ContainerId)
		}
		if m.Hold && !c.dumpAwaited() {
			return nil, errgrpc.ToGRPC(errNobodyWaits)
		}
		if s.stands(c) {
			s.disband()
		}
		var release func()
		ctx, release = c.busy(ctx)
		defer release()
		set = append(set, &subject{container: c, request: m})
	}
	if err := s.dumpSet(ctx, set, time.Duration(r.TimeoutNs), time.Duration(r.ExecWaitNs)); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	resp := &api.DumpSetResponse{}
	for _, c := range set {
		resp.Members = append(resp.Members, &api.DumpResponse{
			PauseNs: int64(time.Since(c.frozen)), DumpNs: int64(c.took), CpuNs: int64(c.cpu),
		})
	}
	return resp, nil
}

// dumpSet closes the gates of containers that run, and dumps them.
func (s *Service) dumpSet(ctx context.Context, set []*subject, timeout, wait time.Duration) error {
	for _, c := range set {
		var err error
		if c.pid, err = s.runningPid(ctx, c.container); err != nil {
			return err
		}
		if c.freezer, err = criu.FreezerOf(c.pid); err != nil {
			return err
		}
	}
	if err := shut(ctx, set, wait); err != nil {
		return err
	}
	defer func() {
		for _, c := range set {
			if !c.left {
				c.gate.Unlock()
			}
		}
	}()
	for _, c := range set {
		if now, err := s.runningPid(ctx, c.container); err != nil || now != c.pid {
			// It has slept, and sleeps or has woken, while the gate was waited for.
			return errors.Join(errChanged, err)
		}
	}
	return s.dump(ctx, set, timeout)
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

// dump returns with the containers thawed, or left frozen, and their gates closed,
// for whoever waits for that.
func (s *Service) dump(ctx context.Context, set []*subject, timeout time.Duration) (err error) {
	for _, c := range set {
		if err := copySpec(c.bundle, c.request.Dir); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, thawAll(ctx, set)) }()
	if err := freezeAll(ctx, set); err != nil {
		return err
	}
	if err := fail.DumpFrozen.Hit(); err != nil {
		return err
	}
	dumpCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, c := range set {
		if c.took, err = s.capture(dumpCtx, c.container, c.request); err != nil {
			return ofSet(set, c, err)
		}
	}
	if err := fail.DumpCaptured.Hit(); err != nil {
		return err
	}
	for _, c := range set {
		// CRIU has code of its own run in the container's processes, and is done now:
		// what is read here is what they had used when they go on. Without the
		// reading (0) nobody can tell later that they stood still.
		c.cpu, _ = criu.CPUTime(c.pid)
		if c.request.Hold {
			if err := c.rehearse(); err != nil {
				return err
			}
			if !c.hold(c.freezer) {
				return errNobodyWaits
			}
			c.left = true
		}
	}
	return nil
}

// freezeAll stops all containers. Between the first and the last no message that
// one has sent is lost to another: whoever stands still already receives none.
func freezeAll(ctx context.Context, set []*subject) error {
	for _, c := range set {
		if err := c.noteFreeze(c.pid); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	for _, c := range set {
		c.frozen = time.Now()
		if err := c.freezer.Freeze(ctx); err != nil {
			return ofSet(set, c, fmt.Errorf("%w: %w", errdefs.ErrUnavailable, err))
		}
	}
	return nil
}

// thawAll lets every container go on that was frozen and is not left so.
func thawAll(ctx context.Context, set []*subject) error {
	var err error
	for _, c := range set {
		switch {
		case c.left:
		case c.frozen.IsZero():
			c.noteThawed(ctx)
		default:
			err = errors.Join(err, c.thaw(ctx, c.freezer))
		}
	}
	return err
}

// ofSet says of which container of several an error is.
func ofSet(set []*subject, c *subject, err error) error {
	if len(set) == 1 {
		return err
	}
	return fmt.Errorf("container %s of the set: %w", c.spec.name(), err)
}

// capture copies the files while CRIU writes the memory; both belong to the
// same freeze. It returns how long CRIU took.
func (s *Service) capture(ctx context.Context, c *container, r *api.DumpRequest) (time.Duration, error) {
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
