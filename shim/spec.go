package shim

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rekindle-dev/rekindle/api"
)

// bundleSpec is the part of a bundle's config.json that the shim needs. It is
// decoded on its own to keep the shim's memory small.
type bundleSpec struct {
	Annotations map[string]string `json:"annotations"`
	Mounts      []specs.Mount     `json:"mounts"`
	Process     struct {
		OOMScoreAdj *int `json:"oomScoreAdj"`
	} `json:"process"`
	Linux struct {
		Namespaces []specs.LinuxNamespace `json:"namespaces"`
	} `json:"linux"`
}

func readSpec(bundle string) (*bundleSpec, error) {
	data, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	var s bundleSpec
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("decode spec: %w", err)
	}
	return &s, nil
}

// managed tells whether the plugin marked the container.
func (s *bundleSpec) managed() bool {
	return s.Annotations[api.AnnotationManaged] != ""
}

// name returns the container's name in its pod, for people.
func (s *bundleSpec) name() string { return s.Annotations["io.kubernetes.cri.container-name"] }

// uts returns the path of the UTS namespace that the container shares with its
// pod; empty when it has one of its own.
func (s *bundleSpec) uts() string {
	for _, ns := range s.Linux.Namespaces {
		if ns.Type == specs.UTSNamespace {
			return ns.Path
		}
	}
	return ""
}

// shm returns the host directory of the /dev/shm that CRI made for the pod's
// sandbox; empty when the container has another. A volume that the pod mounts
// there is a volume like any other, and none of ours to change.
func (s *bundleSpec) shm(sandbox string) string {
	for _, m := range s.Mounts {
		if filepath.Clean(m.Destination) == "/dev/shm" && m.Type == "bind" &&
			strings.HasSuffix(m.Source, "/sandboxes/"+sandbox+"/shm") {
			return m.Source
		}
	}
	return ""
}

// disarm takes annotations out of a bundle that the plugin did not set: without
// it (the daemon was down at that moment) a runtime that passes pod annotations
// through would hand runc an options file of the tenant's choice.
func disarm(bundle string, s *bundleSpec, want string) error {
	if got, set := s.Annotations[api.AnnotationCRIUConfig]; !set || got == want {
		return nil
	}
	path := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read spec: %w", err)
	}
	// Only the annotations are decoded, so that every other field is written
	// back exactly as it was.
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return fmt.Errorf("decode spec: %w", err)
	}
	delete(s.Annotations, api.AnnotationCRIUConfig)
	if whole["annotations"], err = json.Marshal(s.Annotations); err != nil {
		return fmt.Errorf("encode annotations: %w", err)
	}
	if data, err = json.Marshal(whole); err != nil {
		return fmt.Errorf("encode spec: %w", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write spec: %w", err)
	}
	return nil
}
