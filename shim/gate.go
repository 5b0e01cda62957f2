package shim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	ptypes "github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
)

const (
	// gatePoll is the pause between two tries of the gate.
	gatePoll = 10 * time.Millisecond
	// killWait bounds how long SIGKILL waits for an interrupted dump to unwind, and
	// how long a stop signal waits for a dump to end.
	killWait = 5 * time.Second
)

// noStop are signals that nobody sends to end a container.
var noStop = []uint32{
	0, uint32(unix.SIGHUP), uint32(unix.SIGUSR1), uint32(unix.SIGUSR2),
	uint32(unix.SIGCONT), uint32(unix.SIGSTOP), uint32(unix.SIGTSTP),
}

// shut closes the gates of all containers for a dump, when no exec session is
// open in any: a session's process is no child of the container's init, and CRIU
// cannot dump such a one. While it waits, for at most wait, the gates stay open,
// so that neither probes nor signals wait with it. A writer that waits would
// already keep readers out, so the gates are tried and never waited for.
func shut(ctx context.Context, set []*subject, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for {
		obstacle := tryShut(set)
		if obstacle == nil || errors.Is(obstacle, errNoLook) {
			return obstacle
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w and did not end within %s: %w", obstacle, wait, errdefs.ErrUnavailable)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(gatePoll):
		}
	}
}

// errNoLook ends the wait for a container whose processes cannot be listed.
var errNoLook = errors.New("look for exec sessions")

// tryShut closes all gates, or none and says what is in the way.
func tryShut(set []*subject) (obstacle error) {
	for i, c := range set {
		if obstacle = c.tryShut(); obstacle != nil {
			for _, closed := range set[:i] {
				closed.gate.Unlock()
			}
			return ofSet(set, c, obstacle)
		}
	}
	return nil
}

func (c *subject) tryShut() error {
	if !c.gate.TryLock() {
		return errors.New("another call to the container does not end")
	}
	strangers, err := criu.Strangers(c.freezer, c.pid)
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", errNoLook, err)
	case len(strangers) > 0:
		err = fmt.Errorf("an exec session is open (process %d)", strangers[0])
	default:
		return nil
	}
	c.gate.Unlock()
	return err
}

// passForKill ends a dump or a resume that is under way and waits for it, but not for ever:
// nothing may keep SIGKILL from a container.
func (c *container) passForKill() func() {
	c.abandonDump()
	for deadline := time.Now().Add(killWait); time.Now().Before(deadline); time.Sleep(gatePoll) {
		c.interrupt(errKilled)
		if c.gate.TryRLock() {
			return c.gate.RUnlock
		}
	}
	return func() {}
}

// pass holds a call off while the container is being dumped. The returned
// function must be called when the call is through.
func (s *Service) pass(id string) func() {
	c := s.managed(id)
	if c == nil {
		return func() {}
	}
	c.gate.RLock()
	return c.gate.RUnlock
}

// enter is pass for a call that needs the container's processes: it wakes a
// container that sleeps.
func (s *Service) enter(ctx context.Context, id, why string) (leave func(), err error) {
	c := s.managed(id)
	if c == nil {
		return func() {}, nil
	}
	for {
		c.gate.RLock()
		if c.asleep() == nil {
			return c.gate.RUnlock, nil
		}
		c.gate.RUnlock()
		if err := s.wake(ctx, c, why); err != nil {
			return nil, errgrpc.ToGRPC(err)
		}
	}
}

// Exec adds an exec session. From then on until it is deleted the container
// stays awake, unless it sleeps and the session is a probe that can be answered.
func (s *Service) Exec(ctx context.Context, r *taskAPI.ExecProcessRequest) (*ptypes.Empty, error) {
	if s.answersExec(r) {
		return &ptypes.Empty{}, nil
	}
	leave, err := s.enter(ctx, r.ID, "an exec session")
	if err != nil {
		return nil, err
	}
	defer leave()
	resp, err := s.TTRPCTaskService.Exec(ctx, r)
	if c := s.managed(r.ID); c != nil && err == nil {
		c.noteExec(ctx, r.ExecID, commandOf(r))
	}
	return resp, err
}

// Start starts the container, or an exec session in it. An exec that arrives
// during a dump waits for the end of the pause: its process would be no child
// of the container's init, and CRIU cannot dump such a one.
func (s *Service) Start(ctx context.Context, r *taskAPI.StartRequest) (*taskAPI.StartResponse, error) {
	if a := s.answered(r.ID, r.ExecID); a != nil {
		a.end(0)
		return &taskAPI.StartResponse{Pid: a.pid}, nil
	}
	leave, err := s.enter(ctx, r.ID, "an exec session")
	if err != nil {
		return nil, err
	}
	defer leave()
	resp, err := s.TTRPCTaskService.Start(ctx, r)
	if c := s.managed(r.ID); c != nil && r.ExecID == "" {
		s.started(c, err)
	}
	return resp, err
}

// Kill delivers a signal. A signal to the whole container waits for a dump to
// end, SIGKILL ends the dump. A stop signal is held back while the container is
// checkpointed, when its policy says so. A container that sleeps ends by SIGKILL
// as it is, and by a stop signal too unless its policy has it woken for that;
// any other signal wakes it.
func (s *Service) Kill(ctx context.Context, r *taskAPI.KillRequest) (*ptypes.Empty, error) {
	if a := s.answered(r.ID, r.ExecID); a != nil {
		a.end(killed)
		return &ptypes.Empty{}, nil
	}
	c := s.managed(r.ID)
	if c == nil || r.ExecID != "" {
		return s.TTRPCTaskService.Kill(ctx, r)
	}
	stops := !slices.Contains(noStop, r.Signal)
	if stops && c.askToStop() {
		if err := c.dir.Write(&api.Stop{Signal: r.Signal, At: time.Now()}); err != nil {
			log.G(ctx).WithError(err).WithField("container", c.id).Warn("note the request to stop")
		}
	}
	if s.stands(c) {
		s.disband()
	}
	if r.Signal == uint32(unix.SIGKILL) {
		defer c.passForKill()()
		if s.killAsleep(ctx, c, r.Signal) {
			return &ptypes.Empty{}, nil
		}
		return s.TTRPCTaskService.Kill(ctx, r)
	}
	if stops {
		c.abandonSuspension()
		if s.stopAsleep(ctx, c, r.Signal) {
			return &ptypes.Empty{}, nil
		}
	}
	why := fmt.Sprintf("signal %d", r.Signal)
	if c.asleep() != nil {
		leave, err := s.enter(ctx, r.ID, why)
		if err != nil {
			return nil, err
		}
		leave()
	}
	if s.checkpointed(ctx, c, r.Signal) {
		return &ptypes.Empty{}, nil
	}
	if stops && c.asleep() == nil {
		defer c.hurry()()
	}
	leave, err := s.enter(ctx, r.ID, why)
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.TTRPCTaskService.Kill(ctx, r)
}

// hurry ends a dump that is still under way in a while: the runtime sends SIGKILL
// only when the stop signal is through. The returned function ends the wait.
func (c *container) hurry() func() {
	timer := time.AfterFunc(killWait, func() { c.interrupt(errStopping) })
	return func() { timer.Stop() }
}

// Pause freezes the container, but not in the middle of a dump, which freezes
// and thaws it itself.
func (s *Service) Pause(ctx context.Context, r *taskAPI.PauseRequest) (*ptypes.Empty, error) {
	leave, err := s.enter(ctx, r.ID, "a pause")
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.TTRPCTaskService.Pause(ctx, r)
}

// Resume thaws a paused container, but not in the middle of a dump.
func (s *Service) Resume(ctx context.Context, r *taskAPI.ResumeRequest) (*ptypes.Empty, error) {
	defer s.pass(r.ID)()
	return s.TTRPCTaskService.Resume(ctx, r)
}

// Checkpoint is containerd's own operation, kept apart from ours.
func (s *Service) Checkpoint(ctx context.Context, r *taskAPI.CheckpointTaskRequest) (*ptypes.Empty, error) {
	leave, err := s.enter(ctx, r.ID, "a checkpoint by the runtime itself")
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.TTRPCTaskService.Checkpoint(ctx, r)
}
