package plugin

import (
	"context"
	"errors"
	"time"

	"github.com/containerd/log"
	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"

	"github.com/rekindle-dev/rekindle/agent"
)

const (
	name = "rekindle"
	// index is late in NRI's order, so that the adjustments of other plugins are
	// seen.
	index = "90"

	firstRetry = 200 * time.Millisecond
	lastRetry  = 10 * time.Second

	// registerTimeout is more than the runtime itself gives a plugin.
	registerTimeout = 10 * time.Second
)

// events is the mask of what the plugin wants to hear. It is explicit: a
// runtime refuses a plugin that asks for events it does not know.
var events = mask(
	api.Event_STOP_POD_SANDBOX,
	api.Event_CREATE_CONTAINER,
	api.Event_POST_START_CONTAINER,
	api.Event_STOP_CONTAINER,
	api.Event_REMOVE_CONTAINER,
)

// Images resolves an image reference to the digest of its manifest, for
// runtimes whose NRI does not tell it.
type Images interface {
	Digest(ctx context.Context, reference string) (string, error)
}

// Plugin is registered with NRI and tells an agent what happens.
type Plugin struct {
	agent  *agent.Agent
	images Images
}

// New returns a plugin for an agent.
func New(a *agent.Agent, images Images) *Plugin { return &Plugin{agent: a, images: images} }

// Run keeps the plugin registered on the NRI socket until ctx ends, whatever
// happens to the runtime.
func (p *Plugin) Run(ctx context.Context, socket string) {
	retry := firstRetry
	for ctx.Err() == nil {
		began := time.Now()
		err := p.serve(ctx, socket)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > lastRetry {
			retry = firstRetry
		}
		log.G(ctx).WithError(err).WithField("socket", socket).Warnf("not connected to NRI, trying again in %s; pods start without restore meanwhile", retry)
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
		retry = min(2*retry, lastRetry)
	}
}

var (
	errClosed = errors.New("the runtime closed the connection")
	errSilent = errors.New("the runtime does not answer the registration")
)

// serve registers once and returns when the connection is lost.
func (p *Plugin) serve(ctx context.Context, socket string) error {
	s, err := stub.New(p, stub.WithPluginName(name), stub.WithPluginIdx(index),
		stub.WithSocketPath(socket), stub.WithOnClose(func() {}))
	if err != nil {
		return err
	}
	if err := start(ctx, s); err != nil {
		return err
	}
	log.G(ctx).WithField("socket", socket).Info("registered with NRI")
	ended := make(chan struct{})
	go func() { s.Wait(); close(ended) }()
	select {
	case <-ctx.Done():
		s.Stop()
		<-ended
		return ctx.Err()
	case <-ended:
		s.Stop()
		return errClosed
	}
}

// start registers, for a bounded time: when the runtime ends in the middle, the
// stub waits for an answer that never comes, and is left behind.
func start(ctx context.Context, s stub.Stub) error {
	started := make(chan error, 1)
	go func() { started <- s.Start(ctx) }()
	select {
	case err := <-started:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(registerTimeout):
		return errSilent
	}
}

// Configure asks for the events that the plugin wants.
func (p *Plugin) Configure(ctx context.Context, _, runtime, version string) (api.EventMask, error) {
	log.G(ctx).WithFields(log.Fields{"runtime": runtime, "version": version}).Info("configured by NRI")
	return events, nil
}

func mask(list ...api.Event) api.EventMask {
	var m api.EventMask
	m.Set(list...)
	return m
}
