package shim

import (
	"context"
	"errors"
	"fmt"
	"time"

	eventstypes "github.com/containerd/containerd/api/events"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
)

const (
	// signalled is what the runtime adds to the number of the signal that ended a
	// process, to make an exit status.
	signalled = 128
	// killed is the exit status of a process that SIGKILL has ended.
	killed = signalled + uint32(unix.SIGKILL)
	// resumeTries is how often a resume is tried, and resumeRetry the pause after
	// the first try; it gets longer.
	resumeTries = 3
	resumeRetry = 300 * time.Millisecond
	// tellTimeout bounds what the daemon is told without anybody waiting for it.
	tellTimeout = 5 * time.Second
)

// errEnded is returned for a container that has ended as it slept.
var errEnded = fmt.Errorf("the container has ended: %w", errdefs.ErrNotFound)

// wake has a sleeping container run again, and returns when it does; why says in
// words what for. One that is awake is left as it is. That the caller has no time
// any more does not keep it from waking. A container that cannot be woken has
// ended: the runtime is told so, and creates it anew. Only when there is no memory
// for it, it sleeps on.
func (s *Service) wake(ctx context.Context, c *container, why string) error {
	began := time.Now()
	c.gate.Lock()
	defer c.gate.Unlock()
	sl := c.asleep()
	if sl == nil {
		return nil
	}
	if c.exitOf(sl) != nil {
		return errEnded
	}
	ctx = context.WithoutCancel(c.in(ctx))
	err := s.resume(ctx, c, sl)
	w := &api.Wake{Reason: why, At: time.Now(), Took: time.Since(began)}
	logger := log.G(ctx).WithField("container", c.id).WithField("checkpoint", sl.checkpoint).WithField("reason", why)
	if err != nil {
		w.Error = err.Error()
		c.mu.Lock()
		c.wake = w
		c.mu.Unlock()
		if errors.Is(err, errNoRoom) {
			logger.WithError(err).Warn("the suspended container could not be woken and sleeps on")
			s.sleepOn(ctx, c, sl)
		} else {
			logger.WithError(err).Error("the suspended container could not be woken and has ended")
			s.end(ctx, c, sl, killed)
		}
		s.tellWoken(ctx, c, w)
		return err
	}
	sl.sockets.HandedOver()
	c.wokenUp(w)
	s.noteAwake(ctx, c)
	sl.free()
	logger.Infof("woken within %s", w.Took.Round(time.Millisecond))
	s.tellWoken(ctx, c, w)
	return nil
}

// resume tries until the container runs, but not for ever: what is in the way,
// such as want of memory, may pass. Somebody who kills the container ends that.
func (s *Service) resume(ctx context.Context, c *container, sl *sleep) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(sl.how.ResumeTimeoutNs))
	defer cancel()
	ctx, release := c.busy(ctx)
	defer release()
	var first error
	for try := 1; ; try++ {
		err := s.tryResume(ctx, c, sl)
		if err == nil {
			return nil
		}
		if errors.Is(err, errNoRoom) {
			return err
		}
		log.G(ctx).WithError(err).WithField("container", c.id).Warn("wake the suspended container")
		if first == nil {
			first = err
		}
		if try == resumeTries || errors.Is(err, errImages) {
			return first
		}
		select {
		case <-ctx.Done():
			return first
		case <-time.After(resumeRetry << (2 * (try - 1))):
		}
	}
}

// tryResume restores the container where it was: over its writable layer as it
// lies, with the request that it was created with. After an error nothing of it is
// left.
func (s *Service) tryResume(ctx context.Context, c *container, sl *sleep) (err error) {
	if err := s.bury(ctx, c); err != nil {
		return err
	}
	if err := sl.unharmed(); err != nil {
		return err
	}
	if err := sl.fits(); err != nil {
		return err
	}
	images := sl.images
	if sl.plain != "" {
		defer func() {
			if derr := sl.plain.DiscardContent(); derr != nil {
				log.G(ctx).WithError(derr).WithField("container", c.id).Warn("remove plain text")
			}
		}()
		if images, err = c.decryptAsleep(ctx, sl); err != nil {
			return err
		}
	}
	order := &api.Restore{
		Runc: c.runtime.Binary, Config: c.dir.CRIUConfig(), Work: c.dir.Work(),
		// The daemon digested the images when it committed them, in this very
		// suspension. They are trusted as a page in swap is.
		Images: images, Trusted: true, AtOnce: true,
		Timeout: time.Duration(sl.how.ResumeTimeoutNs), OOMScoreAdj: c.spec.Process.OOMScoreAdj,
		Handover: sl.handoverOf(),
	}
	if err := c.dir.Write(order); err != nil {
		return err
	}
	request, err := throughExecutor(c.request)
	if err != nil {
		return err
	}
	c.mute(topicCreate)
	if _, err := s.TTRPCTaskService.Create(ctx, request); err != nil {
		c.unmute(topicCreate)
		return errors.Join(err, s.discard(ctx, c))
	}
	c.mute(topicStart)
	if _, err := s.TTRPCTaskService.Start(ctx, &taskAPI.StartRequest{ID: c.id}); err != nil {
		c.unmute(topicStart)
		if s.ranOut(ctx, c) {
			return nil
		}
		c.mute(topicExit)
		return errors.Join(err, s.discard(ctx, c), s.bury(ctx, c))
	}
	return nil
}

// ranOut tells whether a container that was woken has ended by itself before it
// was told to start. That is its own end, and for the runtime to hear.
func (s *Service) ranOut(ctx context.Context, c *container) bool {
	state, err := s.TTRPCTaskService.State(ctx, &taskAPI.StateRequest{ID: c.id})
	return err == nil && state.Status == task.Status_STOPPED
}

// discard removes what a failed try has left.
func (s *Service) discard(ctx context.Context, c *container) error {
	ctx = context.WithoutCancel(ctx)
	err := criu.Discard(ctx, startReaped, c.runtime, c.id)
	return errors.Join(err, mount.UnmountRecursive(rootfsOf(c.bundle), unix.MNT_DETACH))
}

// killAsleep ends a sleeping container by a signal; false when it is awake.
func (s *Service) killAsleep(ctx context.Context, c *container, signal uint32) bool {
	sl := c.asleep()
	if sl == nil {
		return false
	}
	s.end(ctx, c, sl, signalled+signal)
	return true
}

// stopAsleep ends a sleeping container by a stop signal, unless it is to be woken
// for that; false when it is, or is awake.
func (s *Service) stopAsleep(ctx context.Context, c *container, signal uint32) bool {
	if c.asleep() == nil {
		return false // and the gate may be closed for a dump
	}
	c.gate.Lock()
	defer c.gate.Unlock()
	sl := c.asleep()
	if sl == nil || sl.how.WakeToStop {
		return false
	}
	return s.killAsleep(ctx, c, signal)
}

// end lets a container end as it sleeps.
func (s *Service) end(ctx context.Context, c *container, sl *sleep, status uint32) {
	if !c.endAsleep(sl, status) {
		return
	}
	sl.free()
	s.ended(c.id)
	exit := c.exitOf(sl)
	c.noteExit(ctx, exit.ExitStatus, exit.ExitedAt)
	s.noteAwake(ctx, c)
	s.publish(ctx, c, topicExit, &eventstypes.TaskExit{
		ContainerID: c.id, ID: c.id, Pid: sl.state.Pid, ExitStatus: exit.ExitStatus, ExitedAt: exit.ExitedAt,
	})
}

// noteAwake writes down that the container does not sleep any more.
func (s *Service) noteAwake(ctx context.Context, c *container) {
	var pid uint32
	if state, err := s.State(ctx, &taskAPI.StateRequest{ID: c.id}); err == nil {
		pid = state.Pid
	}
	if err := c.dir.Write(c.record(pid)); err != nil {
		log.G(ctx).WithError(err).WithField("container", c.id).Warn("note that the container does not sleep")
	}
}

// tellWoken tells the daemon, which may be down, and will find the record then.
func (s *Service) tellWoken(ctx context.Context, c *container, w *api.Wake) {
	var orders api.Orders
	if err := c.dir.Read(&orders); err != nil {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
		defer cancel()
		err := ask(ctx, orders.Control, func(daemon api.HooksService) error {
			_, err := daemon.Woken(ctx, &api.WokenRequest{ContainerId: c.id, Reason: w.Reason, Error: w.Error})
			return err
		})
		if err != nil {
			log.G(ctx).WithError(err).WithField("container", c.id).Info("the daemon was not told that the container woke")
		}
	}()
}

// gone tells whether the wrapped service does not know the container.
func gone(err error) bool { return errdefs.IsNotFound(errgrpc.ToNative(err)) }
