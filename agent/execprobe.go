package agent

import (
	"context"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/policy"
)

const (
	// probesTimeout bounds how long a suspension waits for what the kubelet's exec
	// probes are, before the container is touched.
	probesTimeout = time.Second
	// mostProbes is how many exec probes a container has: liveness, readiness, startup.
	mostProbes = 3
)

// Probes knows by which commands the kubelet probes containers.
type Probes interface {
	// ExecProbes returns the commands of the exec probes of a container. What they
	// are is the pod owner's to choose.
	ExecProbes(ctx context.Context, namespace, pod, uid, container string) ([][]string, error)
}

// UseProbes lets exec probes of containers that sleep be answered. It is called
// before the first container is admitted.
func (a *Agent) UseProbes(p Probes) { a.probes = p }

// execProbesOf returns the commands of a container's exec probes, which do not change
// while its pod lives. Where they are not known, exec probes wake the container.
func (a *Agent) execProbesOf(ctx context.Context, t *tracked) []*api.Command {
	if a.probes == nil || t.policy.Sleep.Probes != policy.AnswerProbes {
		return nil
	}
	if known := t.execProbes.Load(); known != nil {
		return *known
	}
	ctx, cancel := context.WithTimeout(ctx, probesTimeout)
	defer cancel()
	list, err := a.probes.ExecProbes(ctx, t.Namespace, t.Pod, t.PodUID, t.Name)
	if err != nil {
		log.G(ctx).WithError(err).WithField("container", t.ID).Warn("learn the exec probes of the container; they will wake it")
		return nil
	}
	commands := []*api.Command{}
	for _, words := range list[:min(len(list), mostProbes)] {
		commands = append(commands, &api.Command{Words: words})
	}
	t.execProbes.Store(&commands)
	return commands
}
