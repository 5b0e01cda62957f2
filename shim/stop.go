package shim

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
)

// errNoStop ends a dump that was asked for before a stop which goes on already.
var errNoStop = fmt.Errorf("the container's stop is not held back any more: %w", errdefs.ErrFailedPrecondition)

// heldStop is a stop signal that is held back for a checkpoint.
type heldStop struct {
	// giveUp ends the wait for the checkpoint.
	giveUp context.CancelFunc
	// frozen is set by a dump that left the container frozen and the gate closed.
	frozen *criu.Freezer
}

// checkpointed asks the daemon to checkpoint a container before its stop signal
// is delivered. When it has, the container is ended, so that no work happens
// after the checkpoint, and the signal needs no delivery. In every other case
// (no stop trigger, no daemon, too slow, failed, another signal) the container
// runs as before and gets its signal.
func (s *Service) checkpointed(ctx context.Context, c *container, signal uint32) bool {
	if c.abandonStop() || slices.Contains(noStop, signal) {
		return false
	}
	var orders api.Orders
	if err := c.dir.Read(&orders); err != nil || orders.StopBudget <= 0 {
		return false
	}
	if _, err := s.runningPid(ctx, c); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, orders.StopBudget)
	defer cancel()
	if !c.holdStop(cancel) {
		return false
	}
	checkpoint, err := askToCheckpoint(ctx, orders.Control, c.id)
	frozen := c.releaseStop()
	if frozen == nil {
		// No dump came to its end. One that is under way has lost its purpose.
		c.interrupt(errOverBudget)
	} else {
		defer c.gate.Unlock()
		defer func() { _ = thaw(ctx, *frozen, c.id) }()
	}
	logger := log.G(ctx).WithField("container", c.id)
	if err != nil || frozen == nil {
		logger.WithError(err).Info("no checkpoint before the stop, the signal goes on")
		return false
	}
	if err := killAll(*frozen); err != nil {
		logger.WithError(err).Warn("end the checkpointed container; the signal goes on")
		return false
	}
	logger.WithField("checkpoint", checkpoint).Info("checkpointed and ended")
	return true
}

// askToCheckpoint returns when the daemon has made the checkpoint durable.
func askToCheckpoint(ctx context.Context, socket, id string) (checkpoint string, err error) {
	err = ask(ctx, socket, func(daemon api.HooksService) error {
		resp, err := daemon.Stopping(ctx, &api.StoppingRequest{ContainerId: id})
		checkpoint = resp.GetCheckpoint()
		return err
	})
	return checkpoint, err
}

// killAll ends every process of a frozen container; none of them runs another
// instruction of its own.
func killAll(f criu.Freezer) error {
	pids, err := f.Processes()
	for _, pid := range pids {
		if kerr := unix.Kill(pid, unix.SIGKILL); kerr != nil && !errors.Is(kerr, unix.ESRCH) {
			err = errors.Join(err, kerr)
		}
	}
	return err
}

// holdStop notes that a stop signal is held back; false when one is already.
func (c *container) holdStop(giveUp context.CancelFunc) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		return false
	}
	c.stop = &heldStop{giveUp: giveUp}
	return true
}

// stopHeld tells whether a stop signal is held back.
func (c *container) stopHeld() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stop != nil
}

// releaseStop ends the holding back, and returns the freezer of the container
// when a dump left it frozen.
func (c *container) releaseStop() *criu.Freezer {
	c.mu.Lock()
	defer c.mu.Unlock()
	frozen := c.stop.frozen
	c.stop = nil
	return frozen
}

// abandonStop ends the wait of an earlier stop signal, and tells whether there
// was one: whoever sends a second signal wants no more delay.
func (c *container) abandonStop() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop == nil {
		return false
	}
	c.stop.giveUp()
	return true
}

// hold leaves a dumped container frozen, and the gate closed, for the stop that
// is held back; false when there is none any more.
func (c *container) hold(f criu.Freezer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop == nil {
		return false
	}
	c.stop.frozen = &f
	return true
}
