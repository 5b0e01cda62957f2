package kube

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rekindle-dev/rekindle/conf"
)

const kubeconfig = `apiVersion: v1
kind: Config
current-context: c
contexts: [{ name: c, context: { cluster: c, user: u } }]
clusters: [{ name: c, cluster: { server: "https://192.0.2.1:6443" } }]
users: [{ name: u, user: { token: t } }]
`

func TestNoCredentials(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if f := New(context.Background(), conf.Kubernetes{}, &asked{}, "host", prometheus.NewRegistry()); f != nil {
		t.Error("there is a face without credentials")
	}
	if _, err := awaitCredentials(context.Background(), conf.Kubernetes{}); !errors.Is(err, errNone) {
		t.Errorf("awaitCredentials=%v, want errNone", err)
	}
}

func TestKubeconfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	cfg := conf.Kubernetes{Kubeconfig: path}
	if f := New(context.Background(), cfg, &asked{}, "host", prometheus.NewRegistry()); f == nil || f.node != "host" {
		t.Error("a kubeconfig that is not there yet switches everything off")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := awaitCredentials(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("awaitCredentials=%v, want it to wait for the file", err)
	}
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := awaitCredentials(context.Background(), cfg)
	if err != nil || c.Host != "https://192.0.2.1:6443" || c.BearerToken != "t" || c.QPS <= 0 || c.QPS > 10 {
		t.Errorf("credentials %v, %v", c, err)
	}
}

func TestNodeName(t *testing.T) {
	cfg := conf.Kubernetes{Kubeconfig: "/nonexistent/kubeconfig"}
	t.Setenv(nodeVariable, "from-environment")
	node := func() string {
		return New(context.Background(), cfg, &asked{}, "host", prometheus.NewRegistry()).node
	}
	if got := node(); got != "from-environment" {
		t.Errorf("got %s", got)
	}
	cfg.Node = "from-config"
	if got := node(); got != "from-config" {
		t.Errorf("got %s", got)
	}
}

// Run returns when the daemon ends, whether or not it ever had credentials.
func TestRunEnds(t *testing.T) {
	f := New(context.Background(), conf.Kubernetes{Kubeconfig: "/nonexistent/kubeconfig"}, &asked{}, "host", prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { f.Run(ctx); close(ended) }()
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not end")
	}
}
