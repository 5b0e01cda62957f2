package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/log"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rekindle-dev/rekindle/agent"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/plugin"
)

// kubernetes is the containerd namespace in which CRI keeps its images.
const kubernetes = "k8s.io"

// inspectNode reads the facts of this node. A CRIU or runc that cannot be asked
// is no reason not to run: pods still start, and `rekindle check` says what is
// missing.
func inspectNode(ctx context.Context) (agent.Node, error) {
	return agent.Inspect(versionOf(ctx, "criu"), versionOf(ctx, "runc"))
}

func versionOf(ctx context.Context, name string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, "--version").Output()
	if err == nil {
		var v criu.Version
		if v, err = criu.ParseVersion(string(out)); err == nil {
			return v.String()
		}
	}
	log.G(ctx).WithError(err).Warnf("ask %s for its version", name)
	return "unknown"
}

// containers answers, through containerd's API, what NRI does not tell.
type containers struct {
	address string

	mu     sync.Mutex
	client *containerd.Client
}

// Digest returns the digest of the manifest to which a reference points now.
func (c *containers) Digest(ctx context.Context, reference string) (string, error) {
	client, err := c.connect()
	if err != nil {
		return "", err
	}
	image, err := client.ImageService().Get(namespaces.WithNamespace(ctx, kubernetes), reference)
	if err != nil {
		return "", err
	}
	return image.Target.Digest.String(), nil
}

// Shape returns what must be equal in a spec.
func (c *containers) Shape(spec *specs.Spec) agent.Shape { return plugin.ShapeOf(spec) }

func (c *containers) connect() (*containerd.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		client, err := containerd.New(c.address, containerd.WithTimeout(time.Second))
		if err != nil {
			return nil, err
		}
		c.client = client
	}
	return c.client, nil
}

// criMetadata names what CRI stores with a container.
const criMetadata = "io.cri-containerd.container.metadata"

// LogPath returns where CRI writes the log of a container.
func (c *containers) LogPath(ctx context.Context, id string) (string, error) {
	client, err := c.connect()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(namespaces.WithNamespace(ctx, kubernetes), 10*time.Second)
	defer cancel()
	container, err := client.ContainerService().Get(ctx, id)
	if err != nil {
		return "", err
	}
	stored, ok := container.Extensions[criMetadata]
	if !ok {
		return "", fmt.Errorf("containerd has no %s of container %.12s", criMetadata, id)
	}
	var record struct{ Metadata struct{ LogPath string } }
	if err := json.Unmarshal(stored.GetValue(), &record); err != nil {
		return "", fmt.Errorf("decode %s: %w", criMetadata, err)
	}
	if record.Metadata.LogPath == "" {
		return "", errors.New("the container has no log")
	}
	return record.Metadata.LogPath, nil
}
