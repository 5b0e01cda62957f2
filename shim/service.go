package shim

import (
	"context"
	"sync"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/ttrpc"

	"github.com/rekindle-dev/rekindle/api"
)

// Service is the task service of a pod, with restore and dump added.
type Service struct {
	taskAPI.TTRPCTaskService
	// sandbox is the id of the pod's sandbox, address the shim's own socket.
	sandbox, address string
	// publisher tells containerd what the wrapped service does not know.
	publisher shim.Publisher

	mu sync.Mutex
	// containers holds the managed ones only.
	containers map[string]*container
	// live counts all containers of the pod that were created and not deleted.
	live map[string]bool
	// patience ends the wait of restored containers for others of their set.
	patience *time.Timer
}

// NewService wraps a new task service of containerd, for the pod with that
// sandbox. address is the socket on which the shim is served; the daemon is told.
func NewService(ctx context.Context, publisher shim.Publisher, sd shutdown.Service, sandbox, address string) (*Service, error) {
	s := &Service{
		sandbox:    sandbox,
		address:    address,
		publisher:  publisher,
		containers: map[string]*container{},
		live:       map[string]bool{},
	}
	s.patience = time.AfterFunc(musterTime, s.disband)
	inner, err := task.NewTaskService(ctx, &witness{Publisher: publisher, service: s}, sd)
	if err != nil {
		return nil, err
	}
	s.TTRPCTaskService = inner
	return s, nil
}

// RegisterTTRPC serves the task service and our own on one server.
func (s *Service) RegisterTTRPC(server *ttrpc.Server) error {
	taskAPI.RegisterTTRPCTaskService(server, s)
	api.RegisterShimService(server, face{s})
	return nil
}

// managed returns the managed container with that id, or nil.
func (s *Service) managed(id string) *container {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.containers[id]
}

// alone tells whether no container but this one and the pod's sandbox is alive.
func (s *Service) alone(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other := range s.live {
		if other != id && other != s.sandbox {
			return false
		}
	}
	return true
}

func (s *Service) remember(id string, c *container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[id] = true
	if c != nil {
		s.containers[id] = c
	}
}

func (s *Service) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, id)
	delete(s.containers, id)
}

// ended takes a container out of the count of living ones; it is kept until it
// is deleted.
func (s *Service) ended(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, id)
}
