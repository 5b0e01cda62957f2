package shim

import (
	"context"
	"fmt"

	eventstypes "github.com/containerd/containerd/api/events"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
	ptypes "github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/protobuf/proto"
)

// What the runtime asks of a container that sleeps is answered here, as if it
// ran. What needs its processes wakes it; see enter.

// sleeping returns the container and its sleep; nil when it is awake, or not
// managed, or an exec session of it is meant.
func (s *Service) sleeping(id, exec string) (*container, *sleep) {
	c := s.managed(id)
	if c == nil || exec != "" {
		return nil, nil
	}
	return c, c.asleep()
}

// State tells that a sleeping container runs, until it has ended as it slept.
func (s *Service) State(ctx context.Context, r *taskAPI.StateRequest) (*taskAPI.StateResponse, error) {
	if a := s.answered(r.ID, r.ExecID); a != nil {
		return a.state(), nil
	}
	c, sl := s.sleeping(r.ID, r.ExecID)
	if sl == nil {
		return s.TTRPCTaskService.State(ctx, r)
	}
	state := proto.Clone(sl.state).(*taskAPI.StateResponse)
	if exit := c.exitOf(sl); exit != nil {
		state.Status, state.ExitStatus, state.ExitedAt = task.Status_STOPPED, exit.ExitStatus, exit.ExitedAt
	}
	return state, nil
}

// Pids tells the last process of a sleeping container.
func (s *Service) Pids(ctx context.Context, r *taskAPI.PidsRequest) (*taskAPI.PidsResponse, error) {
	_, sl := s.sleeping(r.ID, "")
	if sl == nil {
		return s.TTRPCTaskService.Pids(ctx, r)
	}
	return &taskAPI.PidsResponse{Processes: []*task.ProcessInfo{{Pid: sl.state.Pid}}}, nil
}

// Connect tells the last process of a sleeping container.
func (s *Service) Connect(ctx context.Context, r *taskAPI.ConnectRequest) (*taskAPI.ConnectResponse, error) {
	resp, err := s.TTRPCTaskService.Connect(ctx, r)
	if _, sl := s.sleeping(r.ID, ""); sl != nil && err == nil {
		resp.TaskPid = sl.state.Pid
	}
	return resp, err
}

// Wait returns when the container has ended, or the exec session. That its
// processes have ended to let it sleep is no end. Whoever waits acts at once, and
// may do so before the event of the end is published.
func (s *Service) Wait(ctx context.Context, r *taskAPI.WaitRequest) (*taskAPI.WaitResponse, error) {
	if a := s.answered(r.ID, r.ExecID); a != nil {
		return a.wait(ctx)
	}
	c := s.managed(r.ID)
	if c == nil || r.ExecID != "" {
		return s.TTRPCTaskService.Wait(ctx, r)
	}
	for {
		naps := c.nappedTimes()
		if sl := c.asleep(); sl != nil {
			select {
			case <-ctx.Done():
				return nil, errgrpc.ToGRPC(ctx.Err())
			case <-sl.over:
			}
			if exit := c.exitOf(sl); exit != nil {
				return exit, nil
			}
			continue
		}
		resp, err := s.TTRPCTaskService.Wait(ctx, r)
		if c.nappedTimes() > naps {
			continue // these processes have ended to let it sleep
		}
		if err == nil {
			c.noteExit(ctx, resp.ExitStatus, resp.ExitedAt)
		}
		return resp, err
	}
}

// Delete removes an ended container, or an ended exec session.
func (s *Service) Delete(ctx context.Context, r *taskAPI.DeleteRequest) (*taskAPI.DeleteResponse, error) {
	if a := s.answered(r.ID, r.ExecID); a != nil {
		return s.forgetAnswer(r), nil
	}
	if r.ExecID != "" {
		resp, err := s.TTRPCTaskService.Delete(ctx, r)
		if c := s.managed(r.ID); c != nil && err == nil {
			c.noteExecGone(ctx, r.ExecID)
		}
		return resp, err
	}
	release := s.pass(r.ID)
	defer release()
	c, sl := s.sleeping(r.ID, "")
	var resp *taskAPI.DeleteResponse
	var err error
	if sl != nil {
		resp, err = s.deleteAsleep(ctx, c, sl)
	} else {
		resp, err = s.TTRPCTaskService.Delete(ctx, r)
	}
	if err == nil {
		s.forget(r.ID)
	}
	return resp, err
}

// deleteAsleep removes a container that has ended as it slept. Of its processes
// nothing was left when it fell asleep.
func (s *Service) deleteAsleep(ctx context.Context, c *container, sl *sleep) (*taskAPI.DeleteResponse, error) {
	exit := c.exitOf(sl)
	if exit == nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("the container sleeps, and has not ended: %w", errdefs.ErrFailedPrecondition))
	}
	if err := s.bury(ctx, c); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	s.publish(ctx, c, topicDelete, &eventstypes.TaskDelete{
		ContainerID: c.id, Pid: sl.state.Pid, ExitStatus: exit.ExitStatus, ExitedAt: exit.ExitedAt,
	})
	return &taskAPI.DeleteResponse{Pid: sl.state.Pid, ExitStatus: exit.ExitStatus, ExitedAt: exit.ExitedAt}, nil
}

// CloseIO closes standard input. That of a sleeping container is none.
func (s *Service) CloseIO(ctx context.Context, r *taskAPI.CloseIORequest) (*ptypes.Empty, error) {
	if _, sl := s.sleeping(r.ID, r.ExecID); sl != nil || s.answered(r.ID, r.ExecID) != nil {
		return &ptypes.Empty{}, nil
	}
	return s.TTRPCTaskService.CloseIO(ctx, r)
}

// Shutdown ends the shim when no container is left. The wrapped service does not
// know of those that sleep.
func (s *Service) Shutdown(ctx context.Context, r *taskAPI.ShutdownRequest) (*ptypes.Empty, error) {
	s.mu.Lock()
	left := false
	for _, c := range s.containers {
		left = left || c.asleep() != nil
	}
	s.mu.Unlock()
	if left {
		return &ptypes.Empty{}, nil
	}
	return s.TTRPCTaskService.Shutdown(ctx, r)
}
