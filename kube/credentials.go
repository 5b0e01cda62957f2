package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/log"
	"github.com/go-logr/logr/funcr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/rekindle-dev/rekindle/conf"
)

// credentialsRetry is the pause between two looks for a kubeconfig that is not
// there yet, or not sound.
const credentialsRetry = 10 * time.Second

// errNone is returned where there are no credentials and none are configured.
var errNone = errors.New("there is no service account, and kubernetes.kubeconfig is empty")

// credentials reads how to reach the API server. It reads files only.
func credentials(cfg conf.Kubernetes) (*rest.Config, error) {
	if cfg.Kubeconfig == "" {
		c, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("%w (%w)", errNone, err)
		}
		return limited(c), nil
	}
	c, err := clientcmd.BuildConfigFromFlags("", cfg.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return limited(c), nil
}

// limited bounds how often the API server is asked anything.
func limited(c *rest.Config) *rest.Config {
	c.QPS, c.Burst = 5, 20
	c.UserAgent = "rekindled"
	c.WarningHandlerWithContext = rest.NoWarnings{}
	return c
}

// awaitCredentials returns them as soon as there are some: the kubeconfig of a
// node may be written after its daemons have started.
func awaitCredentials(ctx context.Context, cfg conf.Kubernetes) (*rest.Config, error) {
	for told := false; ; told = true {
		c, err := credentials(cfg)
		if err == nil || errors.Is(err, errNone) {
			return c, err
		}
		if !told {
			log.G(ctx).WithError(err).Errorf("no requests by annotation and no Events until this is well; looking again every %s", credentialsRetry)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(credentialsRetry):
		}
	}
}

// quiet hands what the client library logs to the daemon's own log: what
// matters of it is told in its own words.
func quiet(ctx context.Context) {
	klog.SetLogger(funcr.New(func(prefix, args string) {
		log.G(ctx).Debugf("client-go: %s %s", prefix, args)
	}, funcr.Options{}))
}
