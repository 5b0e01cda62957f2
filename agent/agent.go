package agent

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/store"
)

// Agent is the daemon's core. All methods may be called at the same time.
type Agent struct {
	config  atomic.Pointer[conf.Config]
	store   *store.Store
	node    Node
	metrics *Metrics
	// logs is nil when nobody tells where logs are.
	logs Logs
	// probes is nil when nobody tells what the kubelet's exec probes are.
	probes Probes
	// specs reads what an imported checkpoint is of.
	specs   Specs
	history *history
	// choosing is held from the choice of a checkpoint until it is claimed, so
	// that two containers never choose the same one.
	choosing sync.Mutex
	// observers are fixed before the first decision.
	observers []Observer
	// dumps limits how many containers are dumped at once on the node.
	dumps *turns
	// written is what limits.bandwidth bounds.
	written budget
	// unpacked is where space can be saved.
	unpacked *unpacked
	// addresses are the node's.
	addresses addresses
	// ctx ends with the daemon and so do the agent's own workers.
	ctx     context.Context
	workers sync.WaitGroup

	// keyring is what is encrypted with; nil until somebody has said.
	keyring atomic.Pointer[keyring]
	// plainMu guards plainSize, how large the file system for plain text was made;
	// nil while it was not.
	plainMu   sync.Mutex
	plainSize *conf.Size

	// synchronized is closed when the runtime has told what lives.
	synchronized chan struct{}
	once         sync.Once

	mu         sync.Mutex
	containers map[string]*tracked
	// starts are being checkpointed by the ready trigger.
	starts map[start]bool
	// farewells are the stops of pods whose containers are checkpointed together,
	// by sandbox.
	farewells map[string]*farewell
}

// New builds an agent over an open store. ctx bounds the life of its workers;
// Wait returns when they have ended.
func New(ctx context.Context, cfg conf.Config, s *store.Store, node Node, m *Metrics) *Agent {
	a := &Agent{
		store: s, node: node, metrics: m, history: newHistory(), ctx: ctx,
		synchronized: make(chan struct{}),
		dumps:        newTurns(cfg.Limits.ConcurrentDumps),
		unpacked:     newUnpacked(),
		containers:   map[string]*tracked{},
		starts:       map[start]bool{},
		farewells:    map[string]*farewell{},
	}
	a.config.Store(&cfg)
	s.AskBeforeRemoval(a.sleepsIn)
	m.registry.MustRegister(gauges{a})
	return a
}

// Config returns the configuration in force.
func (a *Agent) Config() conf.Config { return *a.config.Load() }

// Reload puts a new configuration in force for containers created from now on,
// and for the limits of the next dump. What is fixed at start (paths, sockets,
// the number of concurrent dumps) stays as it was until a restart.
func (a *Agent) Reload(cfg conf.Config) {
	a.config.Store(&cfg)
	a.store.SetMinFree(int64(cfg.Store.MinFree))
	a.readyPlain(a.ctx)
	log.G(a.ctx).Info("configuration reloaded")
}

// Wait returns when all workers have ended, or after the timeout.
func (a *Agent) Wait(timeout time.Duration) {
	ended := make(chan struct{})
	go func() { a.workers.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(timeout):
		log.G(a.ctx).Warn("workers do not end; what they are doing is swept at the next start")
	}
}

// container returns the tracked container with that id, or nil.
func (a *Agent) container(id string) *tracked {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.containers[id]
}

// ofPod returns the tracked containers of a pod, of its newest sandbox first.
func (a *Agent) ofPod(namespace, pod string) []*tracked {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []*tracked
	for _, t := range a.containers {
		if t.Namespace == namespace && t.Pod == pod {
			found = append(found, t)
		}
	}
	sortNewest(found)
	return found
}
