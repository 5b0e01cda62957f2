package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// errOtherSpec is returned for a checkpoint of a container whose privileges or
// confinement were others.
var errOtherSpec = errors.New("the container's spec has changed since the checkpoint")

// errHooks is returned for a container with hooks that runc does not run when
// it restores.
var errHooks = errors.New("the container has hooks (createContainer, startContainer or poststart) that a restore would leave out")

// confinement is the part of a spec that CRIU takes from the image and not from
// the new spec. NRI does not show it, so the daemon cannot compare it. A pod that
// was given less than before must not get its old privileges back.
type confinement struct {
	Process struct {
		User            specs.User               `json:"user"`
		Capabilities    *specs.LinuxCapabilities `json:"capabilities"`
		NoNewPrivileges bool                     `json:"noNewPrivileges"`
		ApparmorProfile string                   `json:"apparmorProfile"`
		SelinuxLabel    string                   `json:"selinuxLabel"`
		Terminal        bool                     `json:"terminal"`
		Cwd             string                   `json:"cwd"`
	} `json:"process"`
	Root struct {
		Readonly bool `json:"readonly"`
	} `json:"root"`
	Linux struct {
		Seccomp       *specs.LinuxSeccomp    `json:"seccomp"`
		MaskedPaths   []string               `json:"maskedPaths"`
		ReadonlyPaths []string               `json:"readonlyPaths"`
		Sysctl        map[string]string      `json:"sysctl"`
		Devices       []specs.LinuxDevice    `json:"devices"`
		Namespaces    []specs.LinuxNamespace `json:"namespaces"`
	} `json:"linux"`
	Mounts []specs.Mount `json:"mounts"`
	Hooks  *specs.Hooks  `json:"hooks"`
}

// sameConfinement refuses a checkpoint when anything that CRIU would bring back
// from it differs from what the new container's spec says.
func sameConfinement(checkpoint, bundle string) error {
	before, err := readConfinement(filepath.Join(checkpoint, specPart))
	if err != nil {
		return err
	}
	now, err := readConfinement(filepath.Join(bundle, specPart))
	if err != nil {
		return err
	}
	if h := now.Hooks; h != nil && len(h.CreateContainer)+len(h.StartContainer)+len(h.Poststart) > 0 {
		return errHooks
	}
	for _, part := range []struct {
		name        string
		before, now any
	}{
		{"user, capabilities or security profile", before.Process, now.Process},
		{"read-only root", before.Root, now.Root},
		{"seccomp, masked paths, sysctls, devices or namespaces", before.Linux, now.Linux},
		{"mounts", before.Mounts, now.Mounts},
	} {
		if !reflect.DeepEqual(part.before, part.now) {
			return fmt.Errorf("%w: %s", errOtherSpec, part.name)
		}
	}
	return nil
}

// perPod are the parts of a mount's source that differ from pod to pod: the
// directory of a sandbox, that of a pod, the files that the kubelet makes for
// each container, and the generated name of the service account's volume.
var perPod = regexp.MustCompile(`/sandboxes/[0-9a-f]{64}|/pods/[0-9a-f-]{32,36}|/containers/[^/]+/[0-9a-f]{8}$|/kube-api-access-[a-z0-9]+$`)

// sourceOf reduces a mount's source to what says which volume it is. Another
// volume at the same place holds other data than the memory was dumped with.
func sourceOf(source string) string {
	return perPod.ReplaceAllString(source, "/*")
}

func readConfinement(path string) (*confinement, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	var c confinement
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("decode spec: %w", err)
	}
	c.normalize()
	return &c, nil
}

// normalize takes out what differs from pod to pod without any meaning for
// privileges: where namespaces come from, in whose directory mounts are, and the order of
// sets.
func (c *confinement) normalize() {
	for i := range c.Linux.Namespaces {
		c.Linux.Namespaces[i].Path = ""
	}
	for i := range c.Mounts {
		c.Mounts[i].Source = sourceOf(c.Mounts[i].Source)
		slices.Sort(c.Mounts[i].Options)
	}
	slices.SortFunc(c.Mounts, func(a, b specs.Mount) int {
		switch {
		case a.Destination < b.Destination:
			return -1
		case a.Destination > b.Destination:
			return 1
		}
		return 0
	})
	if k := c.Process.Capabilities; k != nil {
		for _, set := range [][]string{k.Bounding, k.Effective, k.Inheritable, k.Permitted, k.Ambient} {
			slices.Sort(set)
		}
	}
	slices.Sort(c.Linux.MaskedPaths)
	slices.Sort(c.Linux.ReadonlyPaths)
}
