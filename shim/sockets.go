package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/handover"
	"github.com/rekindle-dev/rekindle/probe"
)

// mostDescribed is how many sockets of a sleeping container are told one by one.
const mostDescribed = 32

// terms say how the sockets of a container are held that falls asleep.
func terms(how *api.SuspendRequest, began time.Time) handover.Terms {
	return handover.Terms{Frozen: began, CloseConnections: !how.KeepConnections}
}

// sleepable says why the sockets of a running container keep it awake. It may
// open others before it is frozen.
func (s *Service) sleepable(ctx context.Context, c *container, how *api.SuspendRequest) error {
	pid, err := s.runningPid(ctx, c)
	if err != nil {
		return err
	}
	f, err := criu.FreezerOf(pid)
	if err != nil {
		return err
	}
	pids, err := f.Processes()
	if err != nil {
		return err
	}
	left, err := handover.Look(ctx, pids, terms(how, time.Now()))
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%w: %w", &handover.Refusal{Left: left}, errdefs.ErrFailedPrecondition)
	}
	return err
}

// holdSockets keeps the sockets of a frozen container, and makes the images from
// which it gets them back.
func (c *container) holdSockets(ctx context.Context, sl *sleep, f criu.Freezer, began time.Time) error {
	pids, err := f.Processes()
	if err != nil {
		return err
	}
	if sl.sockets, err = handover.Take(ctx, pids, terms(sl.how, began)); err != nil {
		if refusal := (*handover.Refusal)(nil); errors.As(err, &refusal) {
			err = fmt.Errorf("%w: %w", err, errdefs.ErrFailedPrecondition)
		}
		return err
	}
	sl.described = sl.sockets.Describe(mostDescribed)
	if sl.plain != "" {
		sl.handover = sl.plain.Handover() // made when the images are decrypted
		return nil
	}
	sl.handover = filepath.Join(string(c.dir), "handover")
	if err := os.RemoveAll(sl.handover); err != nil {
		return fmt.Errorf("hand sockets over: %w", err)
	}
	return criu.HandOver(sl.images, sl.handover, sl.inodes())
}

// inodes are those of the sockets that are held.
func (sl *sleep) inodes() []uint64 {
	var inodes []uint64
	for _, held := range sl.sockets.Sockets() {
		inodes = append(inodes, held.Inode)
	}
	return inodes
}

// handoverOf is the part of the order to the executor that gives the sockets back.
func (sl *sleep) handoverOf() *api.Handover {
	h := &api.Handover{Images: sl.handover, Holder: os.Getpid()}
	for _, held := range sl.sockets.Sockets() {
		h.Sockets = append(h.Sockets, api.HeldSocket(held))
	}
	return h
}

// listen wakes the container when one of its sockets has something to say. It
// returns at the end of the sleep.
func (s *Service) listen(ctx context.Context, c *container, sl *sleep) {
	var probes *handover.Probes
	if sl.how.AnswerProbes {
		probes = &handover.Probes{Answer: probe.Answer}
	}
	said, err := sl.sockets.Wait(ctx, probes)
	if errors.Is(err, handover.ErrClosed) {
		return
	}
	why := said.String()
	if err != nil {
		// Better awake than deaf.
		log.G(ctx).WithError(err).WithField("container", c.id).Error("listen for the sleeping container")
		why = "its sockets could not be listened to"
	}
	s.rouse(ctx, c, sl, why)
}
