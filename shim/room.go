package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rekindle-dev/rekindle/criu"
)

// roomRetry is the pause before a container is woken anew for which there was no
// memory.
const roomRetry = 3 * time.Second

// errNoRoom is returned for a container for which there is not enough memory. It
// sleeps on.
var errNoRoom = errors.New("there is not enough memory to wake the container")

// pages is how much memory the container has in its images, in bytes; 0 when they are
// encrypted, and that is not known.
func (sl *sleep) pages() (sum int64) {
	for name, size := range sl.sizes {
		if strings.HasPrefix(name, "pages-") {
			sum += size
		}
	}
	return sum
}

// fits makes sure that there is memory for the container, before anything of it is
// made: the kernel would kill what is being restored, or others. Where that cannot be
// learnt it is tried.
func (sl *sleep) fits() error {
	need := sl.pages()
	free, keeper, err := criu.Room(sl.group)
	if err != nil || need <= free {
		return nil
	}
	// How much is missing changes all the time, and the reason is the same.
	return fmt.Errorf("%w: it has %d MiB, and %s leaves less: %w", errNoRoom, need>>20, keeper, errdefs.ErrUnavailable)
}

// holds makes sure that new limits leave room for what the container sleeps with.
func (sl *sleep) holds(limits []byte) error {
	var r specs.LinuxResources
	if json.Unmarshal(limits, &r) != nil || r.Memory == nil || r.Memory.Limit == nil || *r.Memory.Limit <= 0 {
		return nil
	}
	if need := sl.pages(); *r.Memory.Limit < need {
		return fmt.Errorf("the container sleeps with %d MiB, more than its new memory limit: %w", need>>20, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// rouse wakes the container, and tries again for as long as there is no memory for
// it. Who wakes it tells of the outcome.
func (s *Service) rouse(ctx context.Context, c *container, sl *sleep, why string) {
	for errors.Is(s.wake(ctx, c, why), errNoRoom) {
		select {
		case <-sl.over:
			return
		case <-time.After(roomRetry):
		}
	}
}

// sleepOn notes that the container could not be woken and sleeps on.
func (s *Service) sleepOn(ctx context.Context, c *container, sl *sleep) {
	if err := c.dir.Write(c.record(sl.state.Pid)); err != nil {
		log.G(ctx).WithError(err).WithField("container", c.id).Warn("note that the container sleeps on")
	}
}
