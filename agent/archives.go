package agent

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/archive"
	"github.com/rekindle-dev/rekindle/fail"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// Specs tells what must be equal in the spec of a container for it to be
// restored, as it is told of containers that are created.
type Specs interface {
	// Shape returns that of a spec as runc gets it.
	Shape(spec *specs.Spec) Shape
	// Digest returns the digest of an image that the node has.
	Digest(ctx context.Context, reference string) (string, error)
}

// UseSpecs lets checkpoints be imported. It is called before the first call to
// Control.
func (a *Agent) UseSpecs(s Specs) { a.specs = s }

// Hold keeps a checkpoint while it is exported. One that is encrypted is decrypted
// into memory for that long.
func (s *Control) Hold(ctx context.Context, stream api.Rekindle_HoldServer) error {
	r, err := stream.Recv()
	if err != nil {
		return err
	}
	c, err := s.agent.store.Find(r.Id)
	if err != nil {
		return storeError(err)
	}
	release, err := s.agent.store.Hold(c.ID)
	if err != nil {
		return storeError(err)
	}
	defer release()
	dir := c.Dir()
	if c.Encryption != nil {
		plain, err := s.agent.decrypt(ctx, c, exportName())
		if err != nil {
			return storeError(err)
		}
		defer s.agent.afterExport(plain)
		dir, c.Encryption = plain.Content(), nil
		if c.Files, c.Bytes, err = store.Files(ctx, dir); err != nil {
			return storeError(err)
		}
	}
	if err := fail.ExportHeld.Hit(); err != nil {
		return storeError(err)
	}
	manifest, err := json.Marshal(c.Manifest)
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	if err := stream.Send(&api.HoldResponse{Id: c.ID, Dir: dir, ManifestJson: manifest}); err != nil {
		return err
	}
	// The caller has no more to say: this returns when it ends.
	_, _ = stream.Recv()
	return nil
}

// exportName is the name of a directory for plain text that nothing else has.
func exportName() string { return "export-" + strings.ToLower(rand.Text()) }

func (a *Agent) afterExport(plain api.Plain) {
	if err := plain.Discard(); err != nil {
		log.G(a.ctx).WithError(err).Warn("remove the plain text of an export")
	}
}

// importTime bounds how long an import may lie in staging.
const importTime = time.Hour

// Import takes in a checkpoint that was made elsewhere. What the archive says
// goes into the manifest, where it is compared with new containers; nothing
// else is done with it.
func (s *Control) Import(ctx context.Context, stream api.Rekindle_ImportServer) error {
	ctx, cancel := context.WithTimeout(ctx, importTime)
	defer cancel()
	r, err := stream.Recv()
	if err != nil {
		return err
	}
	c, err := s.agent.takeIn(ctx, r.GetBegin(), func(dir string, limit int64) ([]byte, error) {
		if err := stream.Send(&api.ImportResponse{Dir: dir, MaxBytes: limit}); err != nil {
			return nil, err
		}
		r, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		return r.GetCommit().GetClaimsJson(), nil
	})
	if err != nil {
		return storeError(err)
	}
	return stream.Send(&api.ImportResponse{Checkpoint: s.describe(c)})
}

// takeIn makes a checkpoint of what fill unpacks into a directory.
func (a *Agent) takeIn(ctx context.Context, r *api.ImportRequest_Begin, fill func(dir string, limit int64) ([]byte, error)) (_ store.Checkpoint, err error) {
	cfg := a.Config()
	limit := int64(cfg.Import.MaxSize)
	if limit == 0 {
		return store.Checkpoint{}, fmt.Errorf("%w: the configuration does not allow imports (import.max_size)", errdefs.ErrPermissionDenied)
	}
	f := Facts{Namespace: r.GetNamespace(), Pod: r.GetPod(), Name: r.GetContainer()}
	if slices.Contains(cfg.Namespaces.Deny, f.Namespace) || len(cfg.Namespaces.Allow) > 0 && !slices.Contains(cfg.Namespaces.Allow, f.Namespace) {
		return store.Checkpoint{}, fmt.Errorf("%w: the configuration does not allow namespace %.63q", errdefs.ErrPermissionDenied, f.Namespace)
	}
	lineage, err := lineageOf(f)
	if err != nil {
		return store.Checkpoint{}, fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
	}
	need := min(limit, max(0, r.GetBytes()))
	if err := a.makeRoom(ctx, lineage, need); err != nil {
		return store.Checkpoint{}, err
	}
	staging, err := a.store.Begin(ctx, lineage, need)
	if err != nil {
		return store.Checkpoint{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, staging.Abort())
		}
	}()
	dir, plain, err := a.dumpInto(staging, need)
	if err != nil {
		return store.Checkpoint{}, err
	}
	if plain != "" {
		defer func() { err = errors.Join(err, plain.Discard()) }()
	}
	if err := fail.ImportBegin.Hit(); err != nil {
		return store.Checkpoint{}, err
	}
	data, err := fill(dir, limit)
	if err != nil {
		return store.Checkpoint{}, err
	}
	if err := fail.ImportUnpacked.Hit(); err != nil {
		return store.Checkpoint{}, err
	}
	m, err := a.imported(ctx, r, dir, data)
	if err != nil {
		return store.Checkpoint{}, err
	}
	commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if plain != "" {
		if m.Encryption, err = a.encrypt(commit, staging, dir); err != nil {
			return store.Checkpoint{}, err
		}
	}
	c, err := staging.Commit(commit, m)
	if err != nil {
		return store.Checkpoint{}, err
	}
	a.unpacked.add(c.Lineage)
	a.decide(f, Decision{
		Action: ActionCheckpoint, Outcome: Taken, Trigger: policy.Request, Checkpoint: c.ID, Bytes: c.Bytes,
		Reason: "imported from an archive",
	})
	return c, nil
}

// imported makes the manifest of what was taken in.
func (a *Agent) imported(ctx context.Context, r *api.ImportRequest_Begin, dir string, data []byte) (store.Manifest, error) {
	var claims archive.Claims
	if err := json.Unmarshal(data, &claims); err != nil {
		return store.Manifest{}, fmt.Errorf("%w: decode claims: %w", errdefs.ErrInvalidArgument, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return store.Manifest{}, fmt.Errorf("read spec: %w", err)
	}
	var spec specs.Spec
	if err := json.Unmarshal(text, &spec); err != nil || spec.Process == nil || spec.Linux == nil {
		return store.Manifest{}, fmt.Errorf("%w: the archive has no spec", errdefs.ErrInvalidArgument)
	}
	digest := claims.ImageDigest
	if r.GetImage() != "" {
		if digest, err = a.specs.Digest(ctx, r.GetImage()); err != nil {
			return store.Manifest{}, fmt.Errorf("find image %.200q on this node: %w", r.GetImage(), err)
		}
	}
	if digest == "" {
		return store.Manifest{}, fmt.Errorf("%w: the archive does not say by digest of which image it is; name the image (--image)", errdefs.ErrInvalidArgument)
	}
	shape := a.specs.Shape(&spec)
	shape.ImageDigest = digest
	n := a.node
	m := store.Manifest{
		Node: claims.Node, Kernel: claims.Kernel, Arch: claims.Arch, CPUFeatures: claims.CPUFeatures,
		CRIU: claims.CRIU, Runc: claims.Runc, Cgroup: claims.Cgroup,
		PodName: r.GetPod(), ImageName: claims.ImageName, ImageDigest: digest, Fingerprint: shape.Fingerprint(),
		Trigger: string(policy.Request), Reason: "imported from an archive", LeaveRunning: true,
	}
	if claims.Arch == "" {
		// Other tools do not write it down: it is taken to be of a node like this one.
		m.Kernel, m.Arch, m.CPUFeatures, m.CRIU, m.Runc, m.Cgroup = n.Kernel, n.Arch, n.CPUFeatures, n.CRIU, n.Runc, n.Cgroup
	}
	return m, nil
}
