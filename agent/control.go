package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// Control answers the command line and the shims on the daemon's socket.
type Control struct{ agent *Agent }

// NewControl returns the service for an agent.
func NewControl(a *Agent) *Control { return &Control{a} }

var (
	_ api.RekindleService = (*Control)(nil)
	_ api.HooksService    = (*Control)(nil)
)

// List returns the checkpoints, the newest first.
func (s *Control) List(ctx context.Context, r *api.ListRequest) (*api.ListResponse, error) {
	all, err := s.agent.store.All(ctx)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	resp := &api.ListResponse{}
	for l, broken := range s.agent.store.AllBroken() {
		if r.Namespace == "" || l.Namespace == r.Namespace {
			resp.Broken = append(resp.Broken, &api.BrokenCheckpoint{
				Id: broken.ID, Namespace: l.Namespace, Workload: l.Workload, Container: l.Container, Problem: broken.Err.Error(),
			})
		}
	}
	if r.Namespace != "" {
		all = slices.DeleteFunc(all, func(c store.Checkpoint) bool { return c.Namespace != r.Namespace })
	}
	taken, err := s.agent.store.Usage(ctx, all)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	for _, c := range all {
		described := s.describe(c)
		described.RealBytes = taken[c.ID]
		resp.Checkpoints = append(resp.Checkpoints, described)
	}
	return resp, nil
}

func (s *Control) describe(c store.Checkpoint) *api.Checkpoint {
	m := c.Manifest
	marks, _ := s.agent.store.Marks(c.ID) // what cannot be read is told by the state
	return &api.Checkpoint{
		Id: c.ID, Namespace: c.Lineage.Namespace, Workload: c.Lineage.Workload, Container: c.Lineage.Container,
		Pod: m.PodName, Trigger: m.Trigger, CreatedNs: m.Created.UnixNano(), Bytes: m.Bytes,
		PauseNs: int64(m.Pause), DumpNs: int64(m.Dump), State: s.state(c.ID), Set: setOf(m), Pinned: marks.Pinned,
	}
}

func (s *Control) state(id string) string {
	marks, err := s.agent.store.Marks(id)
	switch {
	case err != nil:
		return "unknown"
	case s.agent.sleepsIn(id):
		return "asleep"
	case marks.Completed:
		return "completed"
	case marks.Attempts >= s.agent.Config().Limits.MaxRestores:
		return "suspect"
	case marks.ClaimedBy != "":
		return "claimed"
	}
	return "ready"
}

// Inspect returns everything about one checkpoint.
func (s *Control) Inspect(ctx context.Context, r *api.InspectRequest) (*api.InspectResponse, error) {
	c, err := s.agent.store.Find(r.Id)
	if err != nil {
		return nil, storeError(err)
	}
	marks, err := s.agent.store.Marks(c.ID)
	if err != nil {
		return nil, storeError(err)
	}
	resp := &api.InspectResponse{Dir: c.Dir()}
	if resp.ManifestJson, err = json.Marshal(c.Manifest); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	if resp.MarksJson, err = json.Marshal(marks); err != nil {
		return nil, fmt.Errorf("encode marks: %w", err)
	}
	if err := s.agent.store.Verify(ctx, c, store.Full); err != nil {
		resp.Problem = err.Error()
	}
	return resp, nil
}

// Checkpoint makes checkpoints now, of one container or of all managed ones of
// a pod, one after the other. Those that are checkpointed together are so here.
func (s *Control) Checkpoint(ctx context.Context, r *api.CheckpointRequest) (*api.CheckpointResponse, error) {
	resp := &api.CheckpointResponse{}
	var failed error
	found, together := false, map[string]bool{}
	for _, t := range s.agent.ofPod(r.Namespace, r.Pod) {
		if (r.Container == "" || t.Name == r.Container) && t.asleep() {
			found = true
			failed = errors.Join(failed, fmt.Errorf("container %s sleeps in checkpoint %s, and has done nothing since: %w",
				t.Name, t.lastSuspension().Checkpoint, errdefs.ErrFailedPrecondition))
			continue
		}
		if r.Container != "" && t.Name != r.Container || t.running() == 0 || together[t.Sandbox] {
			continue
		}
		found = true
		together[t.Sandbox] = t.consistent()
		made, err := s.agent.Checkpoint(ctx, t.ID, policy.Request, "asked for on the command line")
		if err != nil {
			failed = errors.Join(failed, err)
		}
		for _, c := range made {
			resp.Checkpoints = append(resp.Checkpoints, s.describe(c))
		}
	}
	if !found {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound,
			"no running managed container in %s/%s; is the pod annotated with rekindle.dev/on and on the rekindle runtime handler?", r.Namespace, r.Pod)
	}
	if failed != nil {
		for _, c := range resp.Checkpoints {
			failed = fmt.Errorf("%w; checkpoint %s of container %s was made", failed, c.Id, c.Container)
		}
		return nil, errgrpc.ToGRPC(failed)
	}
	return resp, nil
}

// Explain reports on a pod's containers.
func (s *Control) Explain(ctx context.Context, r *api.ExplainRequest) (*api.ExplainResponse, error) {
	reports := s.agent.explain(ctx, r.Namespace, r.Pod)
	if len(reports) == 0 {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound,
			"nothing is known of pod %s/%s on this node; it has no rekindle.dev/on annotation, is in a denied namespace, or is elsewhere", r.Namespace, r.Pod)
	}
	return &api.ExplainResponse{Containers: reports}, nil
}

// Remove deletes one checkpoint, unless a restore is using it.
func (s *Control) Remove(ctx context.Context, r *api.RemoveRequest) (*api.RemoveResponse, error) {
	c, err := s.agent.store.Find(r.Id)
	if err != nil {
		return nil, storeError(err)
	}
	if err := s.agent.store.Remove(ctx, c.ID); err != nil {
		return nil, storeError(err)
	}
	m := c.Manifest
	s.agent.decide(Facts{Namespace: c.Lineage.Namespace, Pod: m.PodName, Name: c.Lineage.Container}, Decision{
		Action: ActionRemove, Outcome: Taken, Reason: "asked for on the command line", Class: ClassRequest, Checkpoint: c.ID,
	})
	return &api.RemoveResponse{Id: c.ID}, nil
}

// Stopping checkpoints a container whose stop signal the shim holds back.
func (s *Control) Stopping(ctx context.Context, r *api.StoppingRequest) (*api.StoppingResponse, error) {
	c, err := s.agent.Stopping(ctx, r.ContainerId)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &api.StoppingResponse{Checkpoint: c.ID}, nil
}

// AwaitTicket looks for a checkpoint again for a container about to be created.
func (s *Control) AwaitTicket(ctx context.Context, r *api.AwaitTicketRequest) (*api.AwaitTicketResponse, error) {
	if err := s.agent.AwaitTicket(ctx, r.ContainerId); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &api.AwaitTicketResponse{}, nil
}

// Suspending makes the checkpoint that a container is to sleep in.
func (s *Control) Suspending(ctx context.Context, r *api.SuspendingRequest) (*api.SuspendingResponse, error) {
	c, err := s.agent.Suspending(ctx, r.ContainerId, r.Reason)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &api.SuspendingResponse{Checkpoint: c.ID, Dir: c.Dir()}, nil
}

// Woken learns that a suspended container runs again, or has ended.
func (s *Control) Woken(ctx context.Context, r *api.WokenRequest) (*api.WokenResponse, error) {
	s.agent.Woken(ctx, r.ContainerId)
	return &api.WokenResponse{}, nil
}

// storeError gives the caller's mistakes the class that the command line
// reports as such.
func storeError(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrNoLog), errors.Is(err, store.ErrKey):
		err = fmt.Errorf("%w: %w", errdefs.ErrNotFound, err)
	case errors.Is(err, store.ErrInUse):
		err = fmt.Errorf("%w: %w; it is being restored or exported, or a container sleeps in it: try again", errdefs.ErrUnavailable, err)
	case errors.Is(err, store.ErrPinned):
		err = fmt.Errorf("%w: %w; unpin it first", errdefs.ErrFailedPrecondition, err)
	case errors.Is(err, store.ErrBadID), errors.Is(err, store.ErrAmbiguous):
		err = fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
	}
	return errgrpc.ToGRPC(err)
}
