package shim

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/containerd/log"
)

// noteExec notes that an exec session is there, or is not any more, and keeps the
// record by which the daemon tells exec probes from what the container does itself.
func (c *container) noteExec(ctx context.Context, id string, there bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case there:
		if len(c.execs) == 0 {
			c.sessions.Since = time.Now()
		}
		c.execs[id] = true
		c.sessions.Begun++
	case c.execs[id]:
		delete(c.execs, id)
	default:
		return
	}
	c.sessions.Open = len(c.execs)
	if err := c.dir.Write(&c.sessions); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.G(ctx).WithError(err).WithField("container", c.id).Warn("note the exec sessions")
	}
}
