package shim

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/containerd/log"
)

// noteExec notes that an exec session is there.
func (c *container) noteExec(ctx context.Context, id string, what command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.execs) == 0 {
		c.sessions.Since = time.Now()
	}
	c.execs[id] = what
	c.sessions.Begun++
	c.noteSessions(ctx)
}

// noteExecGone notes that an exec session is not there any more.
func (c *container) noteExecGone(ctx context.Context, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.execs[id]; there {
		delete(c.execs, id)
		c.noteSessions(ctx)
	}
}

// noteSessions keeps the record by which the daemon tells exec probes from what the
// container does itself. The caller holds the lock.
func (c *container) noteSessions(ctx context.Context) {
	c.sessions.Open = len(c.execs)
	if err := c.dir.Write(&c.sessions); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.G(ctx).WithError(err).WithField("container", c.id).Warn("note the exec sessions")
	}
}
