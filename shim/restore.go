package shim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/fail"
)

// Parts of a checkpoint that the shim captures and puts back; the CRIU
// directory is the executor's.
const (
	rootfsPart = "rootfs"
	shmPart    = "shm"
	specPart   = "config.json"
)

// errUsedLayer is returned when a new container's writable layer is not empty:
// a checkpoint's files cannot be laid over what something else put there.
var errUsedLayer = errors.New("the writable layer of the new container is not empty")

// restore creates the container from a checkpoint. After an error everything it
// did is undone and a cold start may follow.
func (s *Service) restore(ctx context.Context, c *container, r *taskAPI.CreateTaskRequest, t *api.Ticket) (_ *taskAPI.CreateTaskResponse, err error) {
	var undo []func() error
	defer func() {
		if err == nil {
			return
		}
		// A create that was cut off (the runtime's connection ended) leaves
		// processes behind, and whatever it left must go before its files do.
		ctx := context.WithoutCancel(ctx)
		err = errors.Join(err, criu.Discard(ctx, startReaped, c.runtime, c.id))
		// The rootfs may still be mounted after a failed create; its layers must
		// not be changed below a mount.
		err = errors.Join(err, mount.UnmountRecursive(rootfsOf(r.Bundle), unix.MNT_DETACH))
		for i := len(undo) - 1; i >= 0; i-- {
			err = errors.Join(err, undo[i]())
		}
	}()

	if err := fail.RestoreBegin.Hit(); err != nil {
		return nil, err
	}
	dir := t.Dir
	if t.Encrypted {
		defer c.discardPlain(ctx)
		if dir, err = c.decrypt(ctx, t.Dir, t.Checkpoint, t.Timeout, false); err != nil {
			return nil, err
		}
	}
	if err := sameConfinement(dir, r.Bundle); err != nil {
		return nil, err
	}
	undoFiles, err := putRootfs(ctx, c.upper, filepath.Join(dir, rootfsPart))
	if err != nil {
		return nil, fmt.Errorf("put changed files back: %w", err)
	}
	undo = append(undo, undoFiles)
	undoNote, err := noteRestored(c.upper, t.Restored)
	if err != nil {
		log.G(ctx).WithError(err).WithField("container", c.id).Warn("tell the container that it is restored")
	}
	undo = append(undo, undoNote)
	if err := fail.RestoreFiles.Hit(); err != nil {
		return nil, err
	}
	shm, err := putShm(ctx, c.spec.shm(s.sandbox), filepath.Join(dir, shmPart), s.alone(c.id))
	if err != nil {
		return nil, fmt.Errorf("put /dev/shm back: %w", err)
	}
	undo = append(undo, shm.undo)

	order := &api.Restore{
		Runc:       c.runtime.Binary,
		Images:     filepath.Join(dir, criu.ImagesDir),
		Checkpoint: t.Dir,
		Manifest:   t.Manifest,
		// What was decrypted to its end is what was dumped.
		Trusted: t.Trusted || t.Encrypted,
		Config:  c.dir.CRIUConfig(),
		Work:    c.dir.Work(),
		Timeout: t.Timeout,
		// The pod's quality of service may be another than at the dump.
		OOMScoreAdj: c.spec.Process.OOMScoreAdj,
		Stand:       t.Members > 1,
	}
	if err := c.dir.Write(order); err != nil {
		return nil, err
	}
	undo = append(undo, func() error { return c.dir.Discard(order) })
	request, err := throughExecutor(r)
	if err != nil {
		return nil, err
	}
	bringNameBack, err := keepHostname(c.spec.uts())
	if err != nil {
		return nil, err
	}
	var resp *taskAPI.CreateTaskResponse
	if err = fail.RestoreCreate.Hit(); err == nil {
		resp, err = s.TTRPCTaskService.Create(ctx, request)
	}
	if err != nil {
		return nil, errors.Join(err, bringNameBack())
	}
	// Containerd's own service has the container now, and would take its end for
	// that of whatever is created in its place: nothing may fail any more.
	if err := errors.Join(bringNameBack(), fail.RestoreCreated.Hit()); err != nil {
		log.G(ctx).WithError(err).WithField("container", c.id).Warn("after the restore")
	}
	shm.done()
	return resp, nil
}

// throughExecutor returns the same request with rekindle-runc in the place of runc.
func throughExecutor(r *taskAPI.CreateTaskRequest) (*taskAPI.CreateTaskRequest, error) {
	path, err := executor()
	if err != nil {
		return nil, err
	}
	opts, err := runcOptions(r)
	if err != nil {
		return nil, err
	}
	opts.BinaryName = path
	request := proto.Clone(r).(*taskAPI.CreateTaskRequest)
	if request.Options, err = typeurl.MarshalAnyToProto(opts); err != nil {
		return nil, fmt.Errorf("encode runtime options: %w", err)
	}
	return request, nil
}

// putRootfs lays the captured changes into the empty writable layer of the new
// container, which is not mounted yet. The returned function takes them out.
func putRootfs(ctx context.Context, upper, captured string) (undo func() error, err error) {
	undo = func() error { return nil }
	if _, err := os.Lstat(captured); errors.Is(err, os.ErrNotExist) {
		return undo, nil
	}
	if upper == "" {
		return undo, errors.New("the snapshotter gives no overlay; changed files can only be put back into one")
	}
	entries, err := os.ReadDir(upper)
	if err != nil {
		return undo, fmt.Errorf("read writable layer: %w", err)
	}
	if len(entries) > 0 {
		return undo, fmt.Errorf("%w: %s and %d more", errUsedLayer, entries[0].Name(), len(entries)-1)
	}
	undo = func() error { return empty(upper) }
	if _, err := copyTree(ctx, upper, captured, math.MaxInt64, false); err != nil {
		return func() error { return nil }, errors.Join(err, undo())
	}
	return undo, nil
}

// empty removes all entries of a directory.
func empty(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("empty %s: %w", dir, err)
	}
	defer root.Close()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("empty %s: %w", dir, err)
	}
	for _, e := range entries {
		if err := root.RemoveAll(e.Name()); err != nil {
			return fmt.Errorf("empty %s: %w", dir, err)
		}
	}
	return nil
}

// rootfsOf is where a bundle's root file system is mounted.
func rootfsOf(bundle string) string { return filepath.Join(bundle, "rootfs") }
