package shim

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
)

// noteFreeze leaves a record before a container is frozen: should this shim die
// before it has thawed it, the daemon knows whom to thaw.
func (c *container) noteFreeze(pid int) error {
	return c.dir.Write(&api.Freeze{Pid: pid, At: time.Now()})
}

// thaw lets the container go on; it does not give up at the first error, since
// nothing is worse than a workload that stands still.
func (c *container) thaw(ctx context.Context, f criu.Freezer) error {
	var err error
	for range 50 {
		if err = f.Thaw(); err == nil {
			c.noteThawed(ctx)
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	log.G(ctx).WithError(err).WithField("container", c.id).Error("container stays frozen; write THAWED to its freezer.state, or 0 to its cgroup.freeze")
	return fmt.Errorf("thaw container: %w", err)
}

func (c *container) noteThawed(ctx context.Context) {
	if err := c.dir.Discard(&api.Freeze{}); err != nil {
		log.G(ctx).WithError(err).WithField("container", c.id).Warn("note that the container is thawed")
	}
}
