package shim

import (
	"context"
	"errors"
	"io/fs"

	eventstypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/log"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rekindle-dev/rekindle/api"
)

// witness passes events on to containerd and notes how containers ended.
// The daemon reads the notes; it may be down when a container ends.
type witness struct {
	shim.Publisher
	service *Service
}

// Publish notes the event and forwards it, unless it is of a container that falls
// asleep or wakes.
func (w *witness) Publish(ctx context.Context, topic string, event events.Event) error {
	if w.service.muted(topic, event) {
		return nil
	}
	switch e := event.(type) {
	case *eventstypes.TaskOOM:
		if c := w.service.managed(e.ContainerID); c != nil {
			c.oom.Store(true)
		}
	case *eventstypes.TaskExit:
		if e.ID == e.ContainerID {
			w.exited(ctx, e)
		} else if c := w.service.managed(e.ContainerID); c != nil {
			c.noteOutcome(e.ID, e.ExitStatus)
		}
	}
	return w.Publisher.Publish(ctx, topic, event)
}

func (w *witness) exited(ctx context.Context, e *eventstypes.TaskExit) {
	w.service.ended(e.ContainerID)
	if c := w.service.managed(e.ContainerID); c != nil {
		c.noteExit(ctx, e.ExitStatus, e.ExitedAt)
	}
}

// noteExit writes the exit record; that it is written more than once does no
// harm, and the last one knows most.
func (c *container) noteExit(ctx context.Context, status uint32, at *timestamppb.Timestamp) {
	exit := &api.Exit{Status: status, Asked: c.end(), OOM: c.oom.Load()}
	if at != nil {
		exit.At = at.AsTime()
	}
	if err := c.dir.Write(exit); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.G(ctx).WithError(err).WithField("container", c.id).Warn("note the exit")
	}
}
