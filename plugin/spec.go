package plugin

import (
	"github.com/containerd/nri/pkg/api"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rekindle-dev/rekindle/agent"
)

// Names of what containerd notes about a pod in the spec of its containers.
const (
	sandboxNameAnnotation = "io.kubernetes.cri.sandbox-name"
	sandboxUIDAnnotation  = "io.kubernetes.cri.sandbox-uid"
	sandboxIDAnnotation   = "io.kubernetes.cri.sandbox-id"
)

// ShapeOf is the shape that a container with that spec would have had when it was
// created: NRI shows containers in the terms to which it is brought here.
func ShapeOf(spec *specs.Spec) agent.Shape {
	pod := &api.PodSandbox{
		Name: spec.Annotations[sandboxNameAnnotation], Uid: spec.Annotations[sandboxUIDAnnotation], Id: spec.Annotations[sandboxIDAnnotation],
	}
	c := &api.Container{
		Args: spec.Process.Args, Env: spec.Process.Env, Mounts: api.FromOCIMounts(spec.Mounts),
		User: &api.User{Uid: spec.Process.User.UID, Gid: spec.Process.User.GID, AdditionalGids: spec.Process.User.AdditionalGids},
		Linux: &api.LinuxContainer{
			Namespaces: api.FromOCILinuxNamespaces(spec.Linux.Namespaces), Devices: api.FromOCILinuxDevices(spec.Linux.Devices),
		},
	}
	for _, r := range spec.Process.Rlimits {
		c.Rlimits = append(c.Rlimits, &api.POSIXRlimit{Type: r.Type, Soft: r.Soft, Hard: r.Hard})
	}
	return shape(pod, c, "")
}
