package shim

import (
	"context"
	"errors"
	"slices"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
)

// checkpointed asks the daemon to checkpoint a container before its stop signal
// is delivered. When it has, the container is ended, so that no work happens
// after the checkpoint, and the signal needs no delivery. In every other case
// (no stop trigger, no daemon, too slow, failed, another signal) the container
// runs as before and gets its signal.
func (s *Service) checkpointed(ctx context.Context, c *container, signal uint32) bool {
	if c.abandonDump() || slices.Contains(noStop, signal) {
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
	var checkpoint string
	frozen, err := s.dumpHeld(ctx, c, false, func(ctx context.Context) (err error) {
		checkpoint, err = askToCheckpoint(ctx, orders.Control, c.id)
		return err
	})
	logger := log.G(ctx).WithField("container", c.id)
	if err != nil {
		logger.WithError(err).Info("no checkpoint before the stop, the signal goes on")
		return false
	}
	defer c.gate.Unlock()
	defer func() { _ = c.thaw(ctx, *frozen) }()
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
