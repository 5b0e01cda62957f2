package shim

import (
	"context"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
)

// musterTime is how long the restored containers of a set stand still for the
// next one, which the kubelet creates within a second, unless it has to fetch an
// image first or waits for a hook in one of them.
const musterTime = 5 * time.Second

// muster lets a restored container go on when all of its set are there. Until
// then it stands still, as the executor has left it: so they find each other, and
// /dev/shm, as they left them.
func (s *Service) muster(c *container, t *api.Ticket) {
	s.mu.Lock()
	c.set, c.standing = t.Set, true
	present := 0
	for id, other := range s.containers {
		if other.set == t.Set && s.live[id] {
			present++
		}
	}
	if present < t.Members {
		s.patience.Reset(musterTime)
	}
	s.mu.Unlock()
	if present >= t.Members {
		s.disband()
	}
}

// started sees to a container that was started, or could not be.
func (s *Service) started(c *container, err error) {
	t := c.together
	c.together = nil
	switch {
	case err != nil:
		s.disband()
	case t != nil:
		s.muster(c, t)
	}
}

// disband lets all containers go on that stand still.
func (s *Service) disband() {
	s.mu.Lock()
	s.patience.Stop()
	var standing []*container
	for _, c := range s.containers {
		if c.standing {
			c.standing = false
			standing = append(standing, c)
		}
	}
	s.mu.Unlock()
	for _, c := range standing {
		// One that was killed meanwhile has nothing to continue.
		if err := criu.Continue(c.id, c.spec.Process.OOMScoreAdj); err != nil {
			log.G(context.Background()).WithError(err).WithField("container", c.id).Warn("let a restored container go on")
		}
	}
}

// stands tells whether a restored container waits for others of its set.
func (s *Service) stands(c *container) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.standing
}
