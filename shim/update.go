package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	ptypes "github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
)

// Update changes the limits of a container. They go into its bundle too, since
// a container that wakes gets its limits from there; for one that sleeps that is
// all there is to do, and they must leave room for it.
func (s *Service) Update(ctx context.Context, r *taskAPI.UpdateTaskRequest) (*ptypes.Empty, error) {
	c := s.managed(r.ID)
	if c == nil {
		return s.TTRPCTaskService.Update(ctx, r)
	}
	c.gate.RLock()
	defer c.gate.RUnlock()
	sl := c.asleep()
	if sl == nil {
		if _, err := s.TTRPCTaskService.Update(ctx, r); err != nil {
			return nil, err
		}
		if err := rewriteResources(c.bundle, r.Resources.GetValue()); err != nil {
			log.G(ctx).WithError(err).WithField("container", c.id).Warn("note the new limits; the container will have the old ones when it is suspended and woken")
		}
		return &ptypes.Empty{}, nil
	}
	err := sl.holds(r.Resources.GetValue())
	if err == nil {
		err = rewriteResources(c.bundle, r.Resources.GetValue())
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &ptypes.Empty{}, nil
}

// rewriteResources merges an OCI resources object into that of a bundle's
// config.json. Every other field stays exactly as it was.
func rewriteResources(bundle string, change []byte) error {
	path := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read spec: %w", err)
	}
	if !json.Valid(change) {
		return errors.New("change spec: the new limits are not JSON")
	}
	if data, err = merge(data, []byte(`{"linux":{"resources":`+string(change)+`}}`)); err != nil {
		return fmt.Errorf("change spec: %w", err)
	}
	f, err := os.CreateTemp(bundle, ".config-*")
	if err != nil {
		return fmt.Errorf("write spec: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write spec: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// merge lays one JSON object over another, field by field.
func merge(under, over json.RawMessage) (json.RawMessage, error) {
	var a, b map[string]json.RawMessage
	if json.Unmarshal(over, &b) != nil || json.Unmarshal(under, &a) != nil || a == nil || b == nil {
		return over, nil // not two objects
	}
	for key, value := range b {
		merged, err := merge(a[key], value)
		if err != nil {
			return nil, err
		}
		a[key] = merged
	}
	return json.Marshal(a)
}
