package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/store"
)

// Verify reads all of one checkpoint. A damaged one goes into quarantine.
func (s *Control) Verify(ctx context.Context, r *api.VerifyRequest) (*api.VerifyResponse, error) {
	c, err := s.agent.store.Find(r.Id)
	if err != nil {
		return nil, storeError(err)
	}
	began := time.Now()
	resp := &api.VerifyResponse{Id: c.ID, Bytes: c.Bytes}
	err = s.agent.store.Verify(ctx, c, store.Full)
	resp.TookNs = int64(time.Since(began))
	switch {
	case errors.Is(err, store.ErrCorrupt):
		resp.Problem, resp.Quarantined = err.Error(), true
		s.agent.quarantine(factsOf(c.Manifest), c.ID, err.Error(), ClassDamaged)
	case err != nil:
		return nil, storeError(err)
	}
	return resp, nil
}

// factsOf names the container of a checkpoint, as far as its manifest does.
func factsOf(m store.Manifest) Facts {
	return Facts{Namespace: m.Namespace, Pod: m.PodName, Name: m.Container}
}

// Pin keeps a checkpoint, or gives it free again.
func (s *Control) Pin(_ context.Context, r *api.PinRequest) (*api.PinResponse, error) {
	c, err := s.agent.store.Find(r.Id)
	if err == nil {
		err = s.agent.store.Pin(c.ID, r.Pinned)
	}
	if err != nil {
		return nil, storeError(err)
	}
	return &api.PinResponse{Id: c.ID}, nil
}

// Collect removes what nobody will be restored from and what is over the bounds.
func (s *Control) Collect(ctx context.Context, r *api.CollectRequest) (*api.CollectResponse, error) {
	plan, err := s.agent.collect(ctx, time.Now(), store.Lineage{}, 0)
	if err != nil {
		return nil, storeError(err)
	}
	removals := plan.removals
	if !r.DryRun {
		removals = s.agent.carryOut(ctx, plan)
	}
	resp := &api.CollectResponse{}
	for _, rm := range removals {
		c := rm.checkpoint
		resp.Bytes += c.Bytes
		resp.Removed = append(resp.Removed, &api.Collected{
			Id: c.ID, Namespace: c.Namespace, Pod: c.PodName, Container: c.Container, Bytes: c.Bytes, Reason: rm.reason,
		})
	}
	return resp, nil
}

// Quarantine lists what is in quarantine.
func (s *Control) Quarantine(context.Context, *api.QuarantineRequest) (*api.QuarantineResponse, error) {
	list, err := s.agent.store.Quarantined()
	if err != nil {
		return nil, storeError(err)
	}
	resp := &api.QuarantineResponse{}
	for _, q := range list {
		m := q.Manifest
		out := &api.Quarantined{
			Id: q.ID, Namespace: m.Namespace, Pod: m.PodName, Container: m.Container, Reason: q.Reason, Bytes: m.Bytes, Dir: q.Dir,
		}
		if !q.Since.IsZero() {
			out.SinceNs = q.Since.UnixNano()
		}
		resp.Checkpoints = append(resp.Checkpoints, out)
	}
	return resp, nil
}

// Release brings a checkpoint back from quarantine, if all of it verifies.
func (s *Control) Release(ctx context.Context, r *api.ReleaseRequest) (*api.ReleaseResponse, error) {
	list, err := s.agent.store.Quarantined()
	if err != nil {
		return nil, storeError(err)
	}
	var found []string
	for _, q := range list {
		if strings.HasPrefix(q.ID, strings.ToUpper(r.Id)) {
			found = append(found, q.ID)
		}
	}
	if len(found) != 1 {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "%d checkpoints in quarantine begin with %.40q; see 'rekindle quarantine'", len(found), r.Id)
	}
	c, err := s.agent.store.Release(ctx, found[0])
	if err != nil {
		return nil, storeError(err)
	}
	s.agent.decide(factsOf(c.Manifest), Decision{
		Action: ActionRelease, Outcome: Taken, Reason: "asked for on the command line", Class: ClassRequest, Checkpoint: c.ID,
	})
	return &api.ReleaseResponse{Id: c.ID}, nil
}

// Keys lists the keys that manifests are sealed with.
func (s *Control) Keys(context.Context, *api.KeysRequest) (*api.KeysResponse, error) {
	keys, err := s.agent.store.Keys()
	if err != nil {
		return nil, storeError(err)
	}
	resp := &api.KeysResponse{}
	for _, k := range keys {
		resp.Keys = append(resp.Keys, &api.Key{
			Id: k.ID, CreatedNs: k.Created.UnixNano(), Current: k.Current, Checkpoints: int64(k.Checkpoints),
		})
	}
	return resp, nil
}

// RotateKey makes a new key, for the checkpoints that are made from now on.
func (s *Control) RotateKey(context.Context, *api.RotateKeyRequest) (*api.RotateKeyResponse, error) {
	id, err := s.agent.store.RotateKey()
	if err != nil {
		return nil, storeError(err)
	}
	return &api.RotateKeyResponse{Id: id}, nil
}

// RetireKey removes a key, and with it all use of what it has sealed.
func (s *Control) RetireKey(_ context.Context, r *api.RetireKeyRequest) (*api.RetireKeyResponse, error) {
	if err := s.agent.store.RetireKey(r.Id); err != nil {
		return nil, storeError(fmt.Errorf("retire key: %w", err))
	}
	return &api.RetireKeyResponse{}, nil
}
