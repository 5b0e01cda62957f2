package shim

import (
	"context"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/rekindle-dev/rekindle/api"
)

// face is the shim's own service, for the daemon. It is a type of its own
// because the task service has a Resume too, which thaws.
type face struct{ *Service }

var _ api.ShimService = face{}

// Suspend puts a container to sleep.
func (f face) Suspend(ctx context.Context, r *api.SuspendRequest) (*api.SuspendResponse, error) {
	c := f.managed(r.ContainerId)
	if c == nil {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "container %.64q is not managed", r.ContainerId)
	}
	sl, err := f.suspend(c.in(ctx), c, r)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &api.SuspendResponse{Checkpoint: sl.checkpoint, Sockets: sl.described}, nil
}

// Resume wakes a container.
func (f face) Resume(ctx context.Context, r *api.ResumeRequest) (*api.ResumeResponse, error) {
	c := f.managed(r.ContainerId)
	if c == nil {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "container %.64q is not managed", r.ContainerId)
	}
	if c.asleep() == nil {
		return &api.ResumeResponse{}, nil
	}
	began := time.Now()
	if err := f.wake(ctx, c, r.Reason); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &api.ResumeResponse{Resumed: true, TookNs: int64(time.Since(began))}, nil
}
