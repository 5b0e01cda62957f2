package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/policy"
)

// notes are what is worth knowing of a container that is managed.
func (p Pod) notes(c container, pol policy.Policy, cfg conf.Config) []Note {
	var out []Note
	if p.isInit(c) {
		out = append(out, Note{Field: "spec.initContainers", Text: "an init container is one like others: killed together with its pod, it is restored in a successor " +
			"and does not run from its beginning; name the containers that are meant with rekindle.dev/containers where that is wrong"})
	}
	if slices.ContainsFunc(p.spec.EphemeralContainers, func(e container) bool { return e.Name == c.Name }) {
		out = append(out, Note{Field: "spec.ephemeralContainers", Text: "an ephemeral container is never created again, so it is never restored"})
	}
	out = append(out, p.volumes(c)...)
	for _, d := range c.VolumeDevices {
		out = append(out, forecast(fmt.Sprintf("volumeDevices[%s]", d.DevicePath), "device"))
	}
	for _, name := range c.limits() {
		switch {
		case strings.HasPrefix(name, "hugepages-"):
			out = append(out, forecast(fmt.Sprintf("resources.limits[%s]", name), "hugepages"))
		case extended(name):
			out = append(out, forecast(fmt.Sprintf("resources.limits[%s]", name), "device"))
		}
	}
	for _, pr := range []struct {
		field string
		probe *probe
	}{{"livenessProbe", c.LivenessProbe}, {"readinessProbe", c.ReadinessProbe}} {
		if pr.probe != nil && pr.probe.Exec != nil {
			out = append(out, Note{Field: pr.field + ".exec", Text: fmt.Sprintf(
				"a checkpoint waits for exec sessions to end, %s at most, and holds new ones off: the probe takes longer by the pause", cfg.Limits.ExecWait)})
		}
	}
	out = append(out, p.together(c, pol, cfg)...)
	return append(out, p.life(pol, cfg)...)
}

func (p Pod) isInit(c container) bool {
	return slices.ContainsFunc(p.spec.InitContainers, func(i container) bool { return i.Name == c.Name && i.RestartPolicy != "Always" })
}

// forecast is what the preflight of a container may come to say, in its words.
func forecast(field, kind string) Note {
	k := criu.Known(kind)
	if k.Severity == criu.Blocker {
		return Note{Field: field, Text: "no checkpoint while " + k.What + ": " + k.Remedy}
	}
	return Note{Field: field, Text: k.What + ": " + k.Remedy}
}

// volumes tells of what is written outside of the container's own files.
func (p Pod) volumes(c container) []Note {
	var out []Note
	for _, m := range c.VolumeMounts {
		i := slices.IndexFunc(p.spec.Volumes, func(v volume) bool { return v.Name == m.Name })
		v := volume{Name: m.Name}
		if i >= 0 {
			v = p.spec.Volumes[i]
		}
		field := fmt.Sprintf("volumeMounts[%s]", m.MountPath)
		switch {
		case v.Socket:
			out = append(out, forecast(field, "unix"))
			continue
		case v.Wide:
			out = append(out, forecast(field, "mount"))
		}
		if m.ReadOnly || v.readOnly() {
			continue
		}
		n := forecast(field, "volume")
		if v.Source == "emptyDir" || v.Source == "ephemeral" {
			n.Text += "; a successor pod finds this one empty, and where a file was open there it starts cold"
		}
		out = append(out, n)
	}
	return out
}

// limits returns the names of the resources that a container is limited in.
func (c container) limits() []string { return slices.Sorted(maps.Keys(c.Resources.Limits)) }

// extended tells whether a resource is one that a device plugin serves.
func extended(name string) bool {
	domain, _, qualified := strings.Cut(name, "/")
	return qualified && domain != "kubernetes.io" && !strings.HasSuffix(domain, ".kubernetes.io")
}

// renamed tells whether pods get a name by which a successor is not known: it is
// generated, and the pod is neither of a Deployment nor of a Job.
func (p Pod) renamed() bool {
	switch p.Kind {
	case "DaemonSet", "ReplicaSet", "ReplicationController":
		return true
	case "Pod":
		return strings.HasSuffix(p.Name, generated)
	}
	return false
}

const (
	defaultGrace = 30 * time.Second
	leastGrace   = 2 * time.Second // the kubelet gives no less to a signal
)

// life tells of what the pod's end and restarts mean for its policy.
func (p Pod) life(pol policy.Policy, cfg conf.Config) []Note {
	var out []Note
	grace := defaultGrace
	if s := p.spec.TerminationGracePeriodSeconds; s != nil {
		grace = max(time.Duration(min(max(*s, 0), 1<<31))*time.Second, leastGrace)
	}
	if budget := cfg.Limits.StopBudget.Duration; pol.Has(policy.Stop) && grace < budget {
		out = append(out, Note{Field: "spec.terminationGracePeriodSeconds", Text: fmt.Sprintf(
			"the kubelet kills the container after %s, which is before limits.stop_budget, %s, is over: a stop checkpoint that takes longer is given up",
			conf.Duration{Duration: grace}, cfg.Limits.StopBudget)})
	} else if pol.Has(policy.Stop) && budget == 0 {
		out = append(out, Note{Field: "rekindle.dev/on", Text: "no checkpoint is made at a stop, for limits.stop_budget is 0s"})
	}
	if p.renamed() && pol.Restore != policy.RestoreFault && pol.Restore != policy.RestoreNever {
		out = append(out, Note{Field: "kind", Text: "a pod that takes the place of another has another name here, by which it is not known: " +
			"it gets none of its checkpoints, and only a restart in the same pod is restored"})
	}
	if p.spec.RestartPolicy == "Never" && pol.Restore == policy.RestoreFault {
		out = append(out, Note{Field: "spec.restartPolicy", Text: "nothing is ever restored: with Never there is no restart in the same pod, and rekindle.dev/restore is fault"})
	}
	return out
}
