package plugin

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/containerd/log"
	"github.com/containerd/nri/pkg/api"

	"github.com/rekindle-dev/rekindle/agent"
)

const (
	// imageNameAnnotation is where containerd notes a container's image reference.
	imageNameAnnotation = "io.kubernetes.cri.image-name"
	// graceAnnotation is where the kubelet notes the pod's grace period, in
	// seconds. It is here only if the runtime handler lets it through.
	graceAnnotation = "io.kubernetes.pod.terminationGracePeriod"
)

// leastGrace is what the kubelet gives a container at least.
const leastGrace = 2 * time.Second

// resolveTimeout bounds the look-up of an image digest; NRI gives two seconds
// for the whole of a create.
const resolveTimeout = 500 * time.Millisecond

// facts collects what the agent needs from what NRI shows.
func facts(pod *api.PodSandbox, c *api.Container) agent.Facts {
	return agent.Facts{
		ID: c.GetId(), Name: c.GetName(), Sandbox: pod.GetId(),
		Namespace: pod.GetNamespace(), Pod: pod.GetName(), PodUID: pod.GetUid(),
		Labels: pod.GetLabels(), Annotations: pod.GetAnnotations(),
		Image: c.GetAnnotations()[imageNameAnnotation], Pid: int(c.GetPid()),
		Grace: grace(c.GetAnnotations()[graceAnnotation]),
	}
}

// grace reads a grace period; what is none is not known, which is 0.
func grace(seconds string) time.Duration {
	n, err := strconv.ParseUint(seconds, 10, 31)
	if err != nil {
		return 0
	}
	return max(leastGrace, time.Duration(n)*time.Second)
}

// complete adds what is needed of a managed container: its image's digest, its
// fingerprint, and whether it can be checkpointed at all.
func (p *Plugin) complete(ctx context.Context, f *agent.Facts, pod *api.PodSandbox, c *api.Container) {
	f.Refusal = isolation(pod, c).Refusal()
	f.ImageDigest = p.digest(ctx, c, f.Image)
	if f.ImageDigest == "" && f.Refusal == "" {
		f.Refusal = "the digest of the container's image cannot be learnt"
	}
	f.Fingerprint = shape(pod, c, f.ImageDigest).Fingerprint()
}

func (p *Plugin) digest(ctx context.Context, c *api.Container, reference string) string {
	if digest := c.GetImage().GetDigest(); digest != "" {
		return digest
	}
	if reference == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	digest, err := p.images.Digest(ctx, reference)
	if err != nil {
		log.G(ctx).WithError(err).WithField("image", reference).Warn("resolve image digest")
	}
	return digest
}

// isolation tells what a container shares. One that has a namespace of the
// node's either has none of that kind, or joins its sandbox's, which has none:
// the latter is how containerd writes hostNetwork and the like.
func isolation(pod *api.PodSandbox, c *api.Container) agent.Isolation {
	own, joined := map[string]bool{}, map[string]bool{}
	for _, ns := range c.GetLinux().GetNamespaces() {
		own[ns.GetType()] = true
		joined[ns.GetType()] = ns.GetPath() != ""
	}
	sandbox := map[string]bool{}
	for _, ns := range pod.GetLinux().GetNamespaces() {
		sandbox[ns.GetType()] = true
	}
	// A runtime that shows no namespaces of the sandbox says nothing about them.
	node := func(kind string) bool {
		return !own[kind] || joined[kind] && len(sandbox) > 0 && !sandbox[kind]
	}
	return agent.Isolation{
		HostPID: node("pid"), HostNetwork: node("network"), HostIPC: node("ipc"),
		SharedPID: joined["pid"] && !node("pid"),
		OwnUsers:  own["user"],
	}
}

// shape collects what must be equal for a restore.
func shape(pod *api.PodSandbox, c *api.Container, digest string) agent.Shape {
	s := agent.Shape{
		ImageDigest: digest, Args: c.GetArgs(), Env: c.GetEnv(),
		Volatile: append([]string{pod.GetName(), pod.GetUid(), pod.GetId()}, pod.GetIps()...),
	}
	if u := c.GetUser(); u != nil {
		s.User = fmt.Sprintf("%d:%d %v", u.GetUid(), u.GetGid(), u.GetAdditionalGids())
	}
	for _, m := range c.GetMounts() {
		s.Mounts = append(s.Mounts, m.GetType()+" "+m.GetDestination())
	}
	for _, r := range c.GetRlimits() {
		s.Rlimits = append(s.Rlimits, fmt.Sprintf("%s %d %d", r.GetType(), r.GetSoft(), r.GetHard()))
	}
	for _, ns := range c.GetLinux().GetNamespaces() {
		s.Namespaces = append(s.Namespaces, ns.GetType())
	}
	for _, d := range c.GetLinux().GetDevices() {
		s.Devices = append(s.Devices, d.GetType()+" "+d.GetPath())
	}
	return s
}
