package main

import (
	"context"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/rekindle-dev/rekindle/api"
)

func (fakeDaemon) Suspend(_ context.Context, r *api.SuspendPodRequest) (*api.SuspendPodResponse, error) {
	if r.Pod == "failing" {
		return nil, errgrpc.ToGRPCf(errdefs.ErrUnavailable, "an exec session is open")
	}
	return &api.SuspendPodResponse{Containers: []*api.Suspended{
		{Name: "redis", ContainerId: "c1", Checkpoint: idA, TookNs: 412e6, Sockets: []string{"tcp 0.0.0.0:6379"}},
		{Name: "sidecar", ContainerId: "c2", Checkpoint: idB},
	}}, nil
}

func (fakeDaemon) Resume(context.Context, *api.ResumePodRequest) (*api.ResumePodResponse, error) {
	return &api.ResumePodResponse{Containers: []*api.Resumed{{Name: "redis", ContainerId: "c1", TookNs: 71e6}}}, nil
}
