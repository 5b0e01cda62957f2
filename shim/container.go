package shim

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
)

// Reasons to end a dump that is under way.
var (
	errKilled     = errors.New("the container is being killed")
	errStopping   = errors.New("the container is being stopped")
	errOverBudget = errors.New("the time for a checkpoint before the stop was over")
	errGivenUp    = errors.New("the suspension was given up")
)

// container is what the shim knows of a managed one.
type container struct {
	id      string
	dir     api.ContainerDir
	bundle  string
	spec    *bundleSpec
	runtime criu.Runtime
	// namespace is containerd's, which calls of the daemon do not name.
	namespace string
	// request is the one that the container was created with.
	request *taskAPI.CreateTaskRequest
	// upper is the writable layer's directory; empty when the snapshotter has none.
	upper string

	// together is the ticket of a container that was restored as one of a set and
	// has not started; nil for any other.
	together *api.Ticket
	// set is the set that it was restored from, standing is set while it waits for
	// the others; the service's lock guards both.
	set      string
	standing bool

	// gate keeps exec, kill and the like (readers) and a dump (the writer) apart.
	gate sync.RWMutex
	// oom is set when the kernel killed a process of the container for memory.
	oom atomic.Bool

	mu sync.Mutex
	// asked is set by a request to stop, ended at the container's end. What is
	// asked afterwards is only containerd cleaning up.
	asked, ended bool
	// cancel ends the dump or the resume that is under way; nil when there is none.
	cancel context.CancelCauseFunc
	// held is the dump that somebody waits for; nil when there is none.
	held *heldDump
	// execs are the commands of the exec sessions that were added and not deleted.
	execs map[string]command
	// outcomes are how commands have ended last, and answers the exec probes that are
	// answered while the container sleeps.
	outcomes outcomes
	answers  map[string]*answer
	// sessions is the record of them.
	sessions api.Sessions
	// sleep is nil while the container is awake, naps counts how often it was put
	// to sleep, and wake is the end of the last time.
	sleep *sleep
	naps  int
	wake  *api.Wake
	// mutes counts, by topic, the events to come that are not containerd's to hear.
	mutes map[string]int
	// used is the CPU time of the container before its last sleep.
	used cpu
}

// in returns a context for calls to the wrapped service on the container's behalf.
func (c *container) in(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, c.namespace)
}

// busy notes that a dump or a resume is under way, so that a kill can end it. The
// returned function forgets it.
func (c *container) busy(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	c.cancel = cancel
	c.mu.Unlock()
	return ctx, func() {
		c.mu.Lock()
		c.cancel = nil
		c.mu.Unlock()
		cancel(nil)
	}
}

// askToStop notes a request to stop; false when the container has ended already.
func (c *container) askToStop() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.asked = true
	return true
}

// end notes that the container has ended, and tells whether that was asked for.
func (c *container) end() (asked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	return c.asked
}

// interrupt ends a dump or a resume that is under way.
func (c *container) interrupt(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel(why)
	}
}
