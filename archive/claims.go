package archive

import (
	"encoding/json"
	"fmt"
	"time"

	metadata "github.com/checkpoint-restore/checkpointctl/lib"

	"github.com/rekindle-dev/rekindle/store"
)

// Claims are what an archive says of the container that it was made of. Only one
// of our own says all of it.
type Claims struct {
	// Checkpoint is the id that it had.
	Checkpoint string    `json:"checkpoint"`
	Created    time.Time `json:"created"`

	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Container string `json:"container"`

	ImageName   string `json:"imageName"`
	ImageDigest string `json:"imageDigest"`
	Fingerprint string `json:"fingerprint"`

	Node        string `json:"node"`
	Kernel      string `json:"kernel"`
	Arch        string `json:"arch"`
	CPUFeatures string `json:"cpuFeatures"`
	CRIU        string `json:"criu"`
	Runc        string `json:"runc"`
	Cgroup      string `json:"cgroup"`
}

func claimsOf(m store.Manifest) Claims {
	return Claims{
		Checkpoint: m.ID, Created: m.Created,
		Namespace: m.Namespace, Pod: m.PodName, Container: m.Container,
		ImageName: m.ImageName, ImageDigest: m.ImageDigest, Fingerprint: m.Fingerprint,
		Node: m.Node, Kernel: m.Kernel, Arch: m.Arch, CPUFeatures: m.CPUFeatures, CRIU: m.CRIU, Runc: m.Runc, Cgroup: m.Cgroup,
	}
}

// configOf is what checkpointctl and the engines read of an archive.
func configOf(m store.Manifest) metadata.ContainerConfig {
	return metadata.ContainerConfig{
		ID: m.ContainerID, Name: m.Container,
		RootfsImage: m.ImageName, RootfsImageRef: m.ImageDigest, RootfsImageName: m.ImageName,
		OCIRuntime: "io.containerd.runc.v2", CreatedTime: m.Created, CheckpointedAt: m.Created,
	}
}

// statusOf is what checkpointctl reads of an archive of containerd's kind.
func statusOf(m store.Manifest) metadata.ContainerdStatus {
	return metadata.ContainerdStatus{CreatedAt: m.Created.UnixNano(), StartedAt: m.Created.UnixNano()}
}

func encode(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return append(data, '\n'), nil
}
