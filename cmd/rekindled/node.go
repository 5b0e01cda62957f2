package main

import (
	"context"
	"os/exec"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/agent"
	"github.com/rekindle-dev/rekindle/criu"
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

// images resolves image references through containerd's API.
type images struct {
	address string

	mu     sync.Mutex
	client *containerd.Client
}

// Digest returns the digest of the manifest to which a reference points now.
func (i *images) Digest(ctx context.Context, reference string) (string, error) {
	client, err := i.connect()
	if err != nil {
		return "", err
	}
	image, err := client.ImageService().Get(namespaces.WithNamespace(ctx, kubernetes), reference)
	if err != nil {
		return "", err
	}
	return image.Target.Digest.String(), nil
}

func (i *images) connect() (*containerd.Client, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.client == nil {
		client, err := containerd.New(i.address, containerd.WithTimeout(time.Second))
		if err != nil {
			return nil, err
		}
		i.client = client
	}
	return i.client, nil
}
