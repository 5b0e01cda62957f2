package shim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"

	"github.com/rekindle-dev/rekindle/criu"
)

var (
	// errNobodyWaits ends a dump after which the container would stay frozen for
	// nobody.
	errNobodyWaits = fmt.Errorf("nobody waits for the container to be dumped any more: %w", errdefs.ErrFailedPrecondition)
	// errNoDump is returned when the daemon has no dump made.
	errNoDump = errors.New("the daemon has not had it dumped")
	// errTwice is returned to the second who would have the container dumped.
	errTwice = fmt.Errorf("its stop or its suspension waits for a dump already: %w", errdefs.ErrUnavailable)
)

// heldDump is a dump that somebody waits for, and that leaves the container
// frozen: before a stop signal is delivered, or before a suspension.
type heldDump struct {
	// suspends tells a suspension from a stop.
	suspends bool
	// giveUp ends the wait.
	giveUp context.CancelFunc
	// frozen is set by a dump that left the container frozen and the gate closed.
	frozen *criu.Freezer
}

// dumpHeld has the daemon make a checkpoint. When it has, the container is left
// frozen and the gate closed; both are the caller's to undo. After an error the
// container runs.
func (s *Service) dumpHeld(ctx context.Context, c *container, suspends bool, ask func(context.Context) error) (*criu.Freezer, error) {
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	if !c.holdDump(&heldDump{suspends: suspends, giveUp: cancel}) {
		return nil, errTwice
	}
	err := ask(asking)
	frozen := c.releaseDump()
	if frozen == nil {
		// No dump came to its end. One that is under way has lost its purpose.
		if suspends {
			c.interrupt(errGivenUp)
		} else {
			c.interrupt(errOverBudget)
		}
		if err == nil {
			err = errNoDump
		}
		return nil, err
	}
	if err != nil {
		err = errors.Join(err, c.thaw(ctx, *frozen))
		c.gate.Unlock()
		return nil, err
	}
	return frozen, nil
}

// holdDump notes that somebody waits for a dump; false when somebody does
// already.
func (c *container) holdDump(h *heldDump) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held != nil {
		return false
	}
	c.held = h
	return true
}

// dumpAwaited tells whether somebody waits for a dump.
func (c *container) dumpAwaited() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held != nil
}

// releaseDump ends the wait, and returns the freezer of the container when a
// dump left it frozen.
func (c *container) releaseDump() *criu.Freezer {
	c.mu.Lock()
	defer c.mu.Unlock()
	frozen := c.held.frozen
	c.held = nil
	return frozen
}

// abandonDump ends the wait for a dump, and tells whether a stop signal was held
// back for it: whoever sends a second signal wants no more delay.
func (c *container) abandonDump() (stop bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return false
	}
	c.held.giveUp()
	return !c.held.suspends
}

// abandonSuspension gives a suspension up that waits for its dump, and returns
// when the container is awake for good, or asleep already. It does not wait for
// ever: a stop goes before everything.
func (c *container) abandonSuspension() {
	for deadline := time.Now().Add(killWait); time.Now().Before(deadline); time.Sleep(gatePoll) {
		c.mu.Lock()
		suspends := c.held != nil && c.held.suspends
		if suspends {
			c.held.giveUp()
		}
		c.mu.Unlock()
		if !suspends {
			return
		}
	}
}

// hold leaves a dumped container frozen, and the gate closed, for whoever waits
// for that; false when nobody does any more.
func (c *container) hold(f criu.Freezer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return false
	}
	c.held.frozen = &f
	return true
}
