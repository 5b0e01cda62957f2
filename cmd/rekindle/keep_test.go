package main

import (
	"context"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/rekindle-dev/rekindle/api"
)

const idBroken = "01KKNTQ2CNDSB0KFK8NV23KZV9"

func (fakeDaemon) Verify(_ context.Context, r *api.VerifyRequest) (*api.VerifyResponse, error) {
	switch r.Id {
	case idA:
		return &api.VerifyResponse{Id: idA, Bytes: 1536, TookNs: 5e6}, nil
	case idB:
		return &api.VerifyResponse{Id: idB, Problem: "criu/pages-1.img: digest\x1b[2J does not match", Quarantined: true, Bytes: 209 << 20}, nil
	}
	return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "no such checkpoint")
}

func (fakeDaemon) Pin(_ context.Context, r *api.PinRequest) (*api.PinResponse, error) {
	if r.Id != idA {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "no such checkpoint")
	}
	return &api.PinResponse{Id: idA}, nil
}

func (fakeDaemon) Collect(_ context.Context, r *api.CollectRequest) (*api.CollectResponse, error) {
	return &api.CollectResponse{Bytes: 1536, Removed: []*api.Collected{
		{Id: idA, Namespace: "shop", Pod: "redis-0", Container: "redis", Bytes: 1536, Reason: "its pod is gone"},
	}}, nil
}

func (fakeDaemon) Quarantine(context.Context, *api.QuarantineRequest) (*api.QuarantineResponse, error) {
	return &api.QuarantineResponse{Checkpoints: []*api.Quarantined{
		{Id: idB, Namespace: "shop", Pod: "redis-0", Container: "redis", Reason: "restore\x1b[2J failed", SinceNs: 1, Dir: "/var/lib/rekindle/quarantine/x"},
	}}, nil
}

func (fakeDaemon) Release(_ context.Context, r *api.ReleaseRequest) (*api.ReleaseResponse, error) {
	if r.Id != idB {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "0 checkpoints in quarantine begin with it")
	}
	return &api.ReleaseResponse{Id: idB}, nil
}

func (fakeDaemon) Keys(context.Context, *api.KeysRequest) (*api.KeysResponse, error) {
	return &api.KeysResponse{Keys: []*api.Key{{Id: idB, Current: true, CreatedNs: 1, Checkpoints: 3}, {Id: idA, Checkpoints: 1}}}, nil
}

func (fakeDaemon) RotateKey(context.Context, *api.RotateKeyRequest) (*api.RotateKeyResponse, error) {
	return &api.RotateKeyResponse{Id: idB}, nil
}

func (fakeDaemon) RetireKey(_ context.Context, r *api.RetireKeyRequest) (*api.RetireKeyResponse, error) {
	if r.Id == idB {
		return nil, errgrpc.ToGRPCf(errdefs.ErrUnavailable, "it is the current one; rotate first")
	}
	return &api.RetireKeyResponse{}, nil
}

func TestKeeping(t *testing.T) {
	t.Setenv(socketVariable, serve(t))
	tests := map[string]struct {
		args   string
		code   int
		stdout []string
		stderr string
	}{
		"Verify":           {"verify " + idA, 0, []string{idA, "1.5KiB", "5ms", "sound"}, ""},
		"VerifyUnsound":    {"verify " + idA + " " + idB, exitFailed, []string{"sound", "digest?[2J does not match (now in quarantine)"}, "1 of 2 checkpoints do not verify"},
		"VerifyNotFound":   {"verify 01ZZ", exitNotFound, nil, "no such checkpoint"},
		"VerifyAll":        {"verify --all", exitFailed, []string{idA, idB, idBroken, "MAC"}, "2 of 3 checkpoints"},
		"VerifyNothing":    {"verify", exitUsage, nil, "give ids, or --all"},
		"VerifyBoth":       {"verify --all " + idA, exitUsage, nil, "give ids, or --all"},
		"VerifyBadID":      {"verify ../x", exitUsage, nil, "is not a checkpoint id"},
		"Pin":              {"pin " + idA, 0, []string{"pinned " + idA}, ""},
		"Unpin":            {"unpin " + idA, 0, []string{"unpinned " + idA}, ""},
		"PinNotFound":      {"pin " + idB, exitNotFound, nil, "no such checkpoint"},
		"GC":               {"gc", 0, []string{idA, "its pod is gone", "1 checkpoints, 1.5KiB, removed"}, ""},
		"GCDryRun":         {"gc --dry-run", 0, []string{"1 checkpoints, 1.5KiB, would be removed"}, ""},
		"Quarantine":       {"quarantine", 0, []string{idB, "shop", "restore?[2J failed"}, ""},
		"Release":          {"quarantine release " + idB, 0, []string{"released " + idB}, ""},
		"ReleaseNotFound":  {"quarantine release " + idA, exitNotFound, nil, "0 checkpoints in quarantine"},
		"KeyList":          {"key list", 0, []string{idB, "3", "seals new checkpoints", idA, "verifies"}, ""},
		"KeyRotate":        {"key rotate", 0, []string{"current key " + idB}, ""},
		"KeyRetire":        {"key retire " + idA, 0, []string{"retired " + idA}, ""},
		"KeyRetireCurrent": {"key retire " + idB, exitFailed, nil, "rotate first"},
		"KeyRetireBadID":   {"key retire 01", exitUsage, nil, "is not the id of a key"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := execute(t, strings.Fields(tc.args)...)
			if code != tc.code || !strings.Contains(stderr, tc.stderr) {
				t.Fatalf("code=%d stderr=%q, want %d and %q", code, stderr, tc.code, tc.stderr)
			}
			for _, want := range tc.stdout {
				if !strings.Contains(stdout, want) {
					t.Errorf("stdout lacks %q:\n%s", want, stdout)
				}
			}
		})
	}
}
