package shim

import (
	"context"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/rekindle-dev/rekindle/api"
)

// face is the shim's own service, for the daemon. It is a type of its own
// because the task service has a Resume too, which thaws.
type face struct{ *Service }

var _ api.ShimService = face{}

// Suspend puts a container to sleep.
func (f face) Suspend(context.Context, *api.SuspendRequest) (*api.SuspendResponse, error) {
	return nil, errgrpc.ToGRPC(errdefs.ErrNotImplemented)
}

// Resume wakes a container.
func (f face) Resume(context.Context, *api.ResumeRequest) (*api.ResumeResponse, error) {
	return nil, errgrpc.ToGRPC(errdefs.ErrNotImplemented)
}
