package agent

import (
	"context"
	"errors"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/rekindle-dev/rekindle/api"
)

// Suspend puts containers to sleep now, one or all managed ones of a pod, one
// after the other.
func (s *Control) Suspend(ctx context.Context, r *api.SuspendPodRequest) (*api.SuspendPodResponse, error) {
	resp := &api.SuspendPodResponse{}
	err := s.each(r.Namespace, r.Pod, r.Container, func(t *tracked) error {
		began := time.Now()
		slept := t.asleep()
		if err := s.agent.Suspend(ctx, t.ID, reasonAsked); err != nil {
			return err
		}
		now := t.lastSuspension()
		done := &api.Suspended{Name: t.Name, ContainerId: t.ID, Checkpoint: now.Checkpoint, Sockets: now.Sockets}
		if !slept {
			done.TookNs = int64(time.Since(began))
		}
		resp.Containers = append(resp.Containers, done)
		return nil
	})
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return resp, nil
}

// Resume wakes containers, one or all managed ones of a pod.
func (s *Control) Resume(ctx context.Context, r *api.ResumePodRequest) (*api.ResumePodResponse, error) {
	resp := &api.ResumePodResponse{}
	err := s.each(r.Namespace, r.Pod, r.Container, func(t *tracked) error {
		began := time.Now()
		slept := t.asleep()
		if err := s.agent.Resume(ctx, t.ID, reasonAsked); err != nil {
			return err
		}
		done := &api.Resumed{Name: t.Name, ContainerId: t.ID}
		if slept {
			done.TookNs = int64(time.Since(began))
		}
		resp.Containers = append(resp.Containers, done)
		return nil
	})
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return resp, nil
}

// each calls do for the living managed containers that are meant, all of them
// even if it fails for one.
func (s *Control) each(namespace, pod, container string, do func(*tracked) error) error {
	var failed error
	found := false
	for _, t := range s.agent.ofPod(namespace, pod) {
		if container != "" && t.Name != container || t.running() == 0 && !t.asleep() {
			continue
		}
		found = true
		failed = errors.Join(failed, do(t))
	}
	if !found {
		return errgrpc.ToGRPCf(errdefs.ErrNotFound,
			"no running managed container in %s/%s; is the pod annotated with rekindle.dev/on and on the rekindle runtime handler?", namespace, pod)
	}
	return failed
}
