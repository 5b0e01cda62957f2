package plugin

import (
	"context"
	"strings"

	"github.com/containerd/nri/pkg/api"

	"github.com/rekindle-dev/rekindle/agent"
	rekindle "github.com/rekindle-dev/rekindle/api"
)

// internalPrefix is that of the annotations which only the plugin may set.
const internalPrefix = "internal.rekindle.dev/"

// CreateContainer adjusts the annotations of a new container, and nothing else:
// validators may veto other adjustments, never annotations.
func (p *Plugin) CreateContainer(ctx context.Context, pod *api.PodSandbox, c *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	adjustment := &api.ContainerAdjustment{}
	admission := p.agent.Admit(ctx, facts(pod, c), func(ctx context.Context, f *agent.Facts) {
		p.complete(ctx, f, pod, c)
	})
	set := map[string]string{}
	if admission.Managed {
		set[rekindle.AnnotationManaged] = "1"
		set[rekindle.AnnotationCRIUConfig] = admission.CRIUConfig
	}
	for key, value := range set {
		adjustment.AddAnnotation(key, value)
	}
	// A tenant's own copies are overwritten, or taken away whether or not the
	// container is managed. Never both for one key: containerd applies a removal
	// and an addition in random order.
	for key := range c.GetAnnotations() {
		_, ours := set[key]
		if !ours && (key == rekindle.AnnotationCRIUConfig || strings.HasPrefix(key, internalPrefix)) {
			adjustment.RemoveAnnotation(key)
		}
	}
	return adjustment, nil, nil
}

// PostStartContainer tells the agent that a container runs.
func (p *Plugin) PostStartContainer(ctx context.Context, _ *api.PodSandbox, c *api.Container) error {
	p.agent.Started(ctx, c.GetId(), int(c.GetPid()))
	return nil
}

// StopContainer tells the agent that a container has ended.
func (p *Plugin) StopContainer(ctx context.Context, _ *api.PodSandbox, c *api.Container) ([]*api.ContainerUpdate, error) {
	p.agent.Stopped(ctx, c.GetId())
	return nil, nil
}

// RemoveContainer tells the agent that a container was deleted.
func (p *Plugin) RemoveContainer(ctx context.Context, _ *api.PodSandbox, c *api.Container) error {
	p.agent.Removed(ctx, c.GetId())
	return nil
}

// Synchronize tells the agent what exists after a (re)connection.
func (p *Plugin) Synchronize(ctx context.Context, pods []*api.PodSandbox, containers []*api.Container) ([]*api.ContainerUpdate, error) {
	sandboxes := map[string]*api.PodSandbox{}
	known := map[string]bool{}
	for _, pod := range pods {
		sandboxes[pod.GetId()] = pod
		known[pod.GetId()] = true
	}
	var living []agent.Facts
	for _, c := range containers {
		pod := sandboxes[c.GetPodSandboxId()]
		if pod == nil || c.GetState() == api.ContainerState_CONTAINER_STOPPED {
			continue
		}
		f := facts(pod, c)
		if c.GetState() != api.ContainerState_CONTAINER_RUNNING {
			f.Pid = 0
		}
		living = append(living, f)
	}
	p.agent.Synchronize(ctx, living, known)
	return nil, nil
}

// StopPodSandbox tells the agent that a pod has ended.
func (p *Plugin) StopPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	p.agent.SandboxStopped(ctx, pod.GetId())
	return nil
}
