package kube

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/containerd/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rekindle-dev/rekindle/agent"
	"github.com/rekindle-dev/rekindle/conf"
)

// nodeVariable names this node for a daemon that runs in a pod, whose host name
// need not be that of the Node object.
const nodeVariable = "NODE_NAME"

// Face is the Kubernetes face of an agent.
type Face struct {
	cfg    conf.Kubernetes
	agent  Agent
	node   string
	events *recorder
	probes probes
}

// Agent is told what pods ask for.
type Agent interface {
	// Asked is [agent.Agent.Asked].
	Asked(ctx context.Context, namespace, pod, uid string, annotations map[string]string, changed bool)
}

// New returns the face of an agent on a node, which is named by cfg, else by
// the environment, else by its host name. It is nil where there are no
// credentials and none are configured: then nothing is missing.
func New(ctx context.Context, cfg conf.Kubernetes, a Agent, host string, r prometheus.Registerer) *Face {
	if _, err := credentials(cfg); errors.Is(err, errNone) {
		log.G(ctx).WithError(err).Info("no requests by annotation and no Events on this node")
		return nil
	}
	node := cfg.Node
	if node == "" {
		node = os.Getenv(nodeVariable)
	}
	if node == "" {
		node = host
	}
	return &Face{cfg: cfg, agent: a, node: node, events: newRecorder(node, r)}
}

// Decided makes an Event of a decision that a pod's owner should see.
func (f *Face) Decided(facts agent.Facts, d agent.Decision) { f.events.Decided(facts, d) }

// Run watches the pods and posts the Events until ctx ends, whatever happens to
// the API server.
func (f *Face) Run(ctx context.Context) {
	quiet(ctx)
	config, err := awaitCredentials(ctx, f.cfg)
	if err != nil {
		return
	}
	pods, err := newPods(config, f.node, f.agent)
	if err == nil {
		err = errors.Join(f.events.connect(config), f.probes.connect(config))
	}
	if err != nil {
		log.G(ctx).WithError(err).Error("the Kubernetes credentials cannot be used; no requests by annotation and no Events")
		return
	}
	log.G(ctx).WithFields(log.Fields{"node": f.node, "server": config.Host}).Info("watching the pods of this node")
	var all sync.WaitGroup
	all.Go(func() { f.events.run(ctx) })
	all.Go(func() { pods.run(ctx) })
	all.Wait()
}
