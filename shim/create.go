package shim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/process"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
)

// Create creates a container: from a checkpoint when the daemon left a ticket,
// and as containerd's own shim does in every other case, a failed restore
// included.
func (s *Service) Create(ctx context.Context, r *taskAPI.CreateTaskRequest) (*taskAPI.CreateTaskResponse, error) {
	spec, err := readSpec(r.Bundle)
	if err != nil {
		return nil, fmt.Errorf("create container %.12s: %w", r.ID, err)
	}
	c, err := s.adopt(ctx, r, spec)
	if err != nil {
		return nil, fmt.Errorf("create container %.12s: %w", r.ID, err)
	}
	s.remember(r.ID, c)
	resp, err := s.create(ctx, c, r)
	if err != nil {
		s.forget(r.ID)
	}
	return resp, err
}

// adopt builds the shim's record of a container that the plugin marked; nil for
// any other. The mark counts only together with the run directory, which
// nobody but the daemon can make.
func (s *Service) adopt(ctx context.Context, r *taskAPI.CreateTaskRequest, spec *bundleSpec) (*container, error) {
	dir, err := api.ContainerDirOf(r.ID)
	if err != nil || !spec.managed() || !dir.Exists() {
		return nil, disarm(r.Bundle, spec, "")
	}
	if err := disarm(r.Bundle, spec, dir.CRIUConfig()); err != nil {
		return nil, err
	}
	c := &container{
		id: r.ID, dir: dir, bundle: r.Bundle, spec: spec, upper: upperOf(r), request: r,
		execs: map[string]command{}, answers: map[string]*answer{}, mutes: map[string]int{},
	}
	if c.namespace, err = namespaces.NamespaceRequired(ctx); err != nil {
		return nil, err
	}
	if c.runtime, err = runtimeOf(c.namespace, r); err != nil {
		return nil, err
	}
	if err := dir.Write(&api.Attach{Address: s.address, Bundle: r.Bundle}); err != nil {
		log.G(ctx).WithError(err).WithField("container", r.ID).Warn("tell the daemon about the container")
	}
	return c, nil
}

func (s *Service) create(ctx context.Context, c *container, r *taskAPI.CreateTaskRequest) (*taskAPI.CreateTaskResponse, error) {
	if c == nil {
		return s.TTRPCTaskService.Create(ctx, r)
	}
	var ticket api.Ticket
	err := c.ticket(ctx, &ticket)
	if errors.Is(err, fs.ErrNotExist) {
		s.disband() // who waits, waits in vain
		return s.TTRPCTaskService.Create(ctx, r)
	}
	logger := log.G(ctx).WithField("container", c.id).WithField("checkpoint", ticket.Checkpoint)
	began := time.Now()
	var resp *taskAPI.CreateTaskResponse
	if err == nil {
		s.patience.Stop() // the next one is under way
		resp, err = s.restore(ctx, c, r, &ticket)
	}
	outcome := &api.Outcome{Checkpoint: ticket.Checkpoint, Restored: err == nil, Took: time.Since(began)}
	if err != nil {
		outcome.Error = err.Error()
		outcome.Innocent = !opened(c)
		logger.WithError(err).Warn("restore failed, starting cold")
	}
	if werr := c.dir.Write(outcome); werr != nil {
		logger.WithError(werr).Warn("note the outcome of the restore")
	}
	if err == nil {
		if ticket.Members > 1 {
			c.together = &ticket
		}
		return resp, nil
	}
	s.disband()
	return s.TTRPCTaskService.Create(ctx, r)
}

// ticket reads the daemon's order to restore, fs.ErrNotExist when there is none.
// When the daemon has said that one may come, it is asked first: it answers when
// the ticket is there, or none will be.
func (c *container) ticket(ctx context.Context, t *api.Ticket) error {
	var orders api.Orders
	if err := c.dir.Read(&orders); err == nil && orders.AwaitTicket > 0 {
		ctx, cancel := context.WithTimeout(ctx, orders.AwaitTicket)
		defer cancel()
		if err := awaitTicket(ctx, orders.Control, c.id); err != nil {
			log.G(ctx).WithError(err).WithField("container", c.id).Info("no word from the daemon about a ticket")
		}
	}
	return c.dir.Read(t)
}

// opened tells whether CRIU got as far as opening the images, by its log.
func opened(c *container) bool {
	_, err := os.Stat(filepath.Join(c.dir.Work(), criu.RestoreLog))
	return err == nil
}

// upperOf finds the writable layer of an overlay rootfs.
func upperOf(r *taskAPI.CreateTaskRequest) string {
	for _, m := range r.Rootfs {
		if m.Type != "overlay" {
			continue
		}
		for _, option := range m.Options {
			if dir, ok := strings.CutPrefix(option, "upperdir="); ok {
				return dir
			}
		}
	}
	return ""
}

// runtimeOf tells how containerd would call runc for this container.
func runtimeOf(namespace string, r *taskAPI.CreateTaskRequest) (criu.Runtime, error) {
	opts, err := runcOptions(r)
	if err != nil {
		return criu.Runtime{}, err
	}
	runtime := criu.Runtime{Binary: opts.BinaryName, Root: opts.Root, SystemdCgroup: opts.SystemdCgroup}
	if runtime.Binary == "" {
		runtime.Binary = "runc"
	}
	if runtime.Root == "" {
		runtime.Root = process.RuncRoot
	}
	runtime.Root = filepath.Join(runtime.Root, namespace)
	return runtime, nil
}

func runcOptions(r *taskAPI.CreateTaskRequest) (*options.Options, error) {
	if r.Options.GetValue() == nil {
		return &options.Options{}, nil
	}
	v, err := typeurl.UnmarshalAny(r.Options)
	if err != nil {
		return nil, fmt.Errorf("decode runtime options: %w", err)
	}
	opts, ok := v.(*options.Options)
	if !ok {
		return nil, fmt.Errorf("decode runtime options: %T; the handler's runtime_type must be io.containerd.runc.v2", v)
	}
	return opts, nil
}

// executor is the path of rekindle-runc, which is installed beside the shim.
func executor() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find executor: %w", err)
	}
	path := filepath.Join(filepath.Dir(self), "rekindle-runc")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find executor: %w; install rekindle-runc beside the shim", err)
	}
	return path, nil
}
