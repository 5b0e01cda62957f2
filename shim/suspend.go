package shim

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
)

// buryTimeout bounds the end of the processes, from their kill until the wrapped
// service has let go of them.
const buryTimeout = 10 * time.Second

// suspend puts a container to sleep: the daemon makes a checkpoint, and the
// container stays frozen until its processes are killed. Whatever fails before
// that leaves it running. One that sleeps already is left as it is.
func (s *Service) suspend(ctx context.Context, c *container, how *api.SuspendRequest) (*sleep, error) {
	if sl := c.asleep(); sl != nil {
		return sl, nil
	}
	if err := c.unsuitable(); err != nil {
		return nil, err
	}
	var orders api.Orders
	if err := c.dir.Read(&orders); err != nil {
		return nil, err
	}
	if err := s.sleepable(ctx, c, how); err != nil {
		return nil, err
	}
	began := time.Now()
	sl := &sleep{how: how, over: make(chan struct{})}
	frozen, err := s.dumpHeld(ctx, c, true, func(ctx context.Context) error {
		return ask(ctx, orders.Control, func(daemon api.HooksService) error {
			resp, err := daemon.Suspending(ctx, &api.SuspendingRequest{ContainerId: c.id, Reason: how.Reason})
			if err != nil {
				return err
			}
			return sl.sleepIn(c.id, resp.Checkpoint, resp.Dir)
		})
	})
	if err != nil {
		return nil, err
	}
	defer c.gate.Unlock()
	if err = s.prepare(ctx, c, sl); err == nil {
		err = c.holdSockets(ctx, sl, *frozen, began)
	}
	if err == nil {
		err = s.letGo(ctx, c, sl, *frozen)
	}
	if err != nil {
		sl.free()
		return nil, errors.Join(err, c.thaw(ctx, *frozen))
	}
	go s.listen(context.WithoutCancel(ctx), c, sl)
	return sl, nil
}

// sleepIn notes the checkpoint that a container is to sleep in. When the daemon has
// left a data key, it is encrypted.
func (sl *sleep) sleepIn(container, checkpoint, dir string) error {
	sl.checkpoint, sl.images = checkpoint, filepath.Join(dir, criu.ImagesDir)
	plain, err := api.PlainOf(container)
	if err == nil && plain.HasKey() {
		sl.plain, sl.images = plain, dir
	}
	return err
}

// unsuitable says why a container cannot be suspended, whatever its state.
func (c *container) unsuitable() error {
	if c.request.Terminal || c.request.Stdin != "" {
		return fmt.Errorf("the container has a standard input (stdin or tty), which would be lost: %w", errdefs.ErrFailedPrecondition)
	}
	return nil
}

// inUse says why a frozen container cannot be suspended now. The dump has waited for
// the processes of exec sessions to end; one that was added meanwhile has none yet.
func (c *container) inUse() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.execs) > 0 {
		return fmt.Errorf("an exec session is open: %w", errdefs.ErrUnavailable)
	}
	return nil
}

// prepare makes ready, while the container is frozen, all that must not fail any
// more once its processes are gone.
func (s *Service) prepare(ctx context.Context, c *container, sl *sleep) (err error) {
	if err := c.inUse(); err != nil {
		return err
	}
	if sl.state, err = s.TTRPCTaskService.State(ctx, &taskAPI.StateRequest{ID: c.id}); err != nil {
		return err
	}
	if sl.stats, sl.used, err = s.rest(ctx, c); err != nil {
		return err
	}
	if sl.sizes, err = sizesOf(sl.images); err != nil {
		return err
	}
	if sl.group, err = criu.MemoryGroup(int(sl.state.Pid)); err != nil {
		return err
	}
	if sl.logs, err = holdLogs(sl.state.Stdout, sl.state.Stderr); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// letGo ends the processes of a frozen container for it to sleep. It fails only
// with none of them ended.
func (s *Service) letGo(ctx context.Context, c *container, sl *sleep, frozen criu.Freezer) error {
	sl.since = time.Now()
	before := c.usedBefore()
	c.mute(topicExit)
	c.fallAsleep(sl)
	if err := c.dir.Write(c.record(0)); err != nil {
		c.stayAwake(before)
		return err
	}
	logger := log.G(ctx).WithField("container", c.id)
	// The processes die when they are thawed. Init takes the others with it.
	if err := killAll(frozen); err != nil {
		logger.WithError(err).Warn("end the suspended container")
	}
	if err := c.thaw(ctx, frozen); err != nil {
		logger.WithError(err).Error("end the suspended container")
	}
	if err := s.bury(ctx, c); err != nil {
		// It is tried again before anything else is done with the container.
		logger.WithError(err).Warn("the suspended container is not gone yet")
	}
	logger.WithField("checkpoint", sl.checkpoint).Info("suspended")
	return nil
}

// stayAwake takes a sleep back of which nothing has come.
func (c *container) stayAwake(before cpu) {
	c.unmute(topicExit)
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.sleep.over)
	c.sleep, c.used = nil, before
}

// bury has the wrapped service let go of processes that were killed. There being
// none is fine.
func (s *Service) bury(ctx context.Context, c *container) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.in(ctx)), buryTimeout)
	defer cancel()
	_, err := s.TTRPCTaskService.Wait(ctx, &taskAPI.WaitRequest{ID: c.id})
	if err == nil {
		c.mute(topicDelete)
		if _, err = s.TTRPCTaskService.Delete(ctx, &taskAPI.DeleteRequest{ID: c.id}); err != nil {
			c.unmute(topicDelete)
		}
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("let go of the ended processes: %w", err)
	}
	return nil
}
