package store_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// recorder is a disk that remembers every write and every flush, in order: a file
// in a filesystem of ours, under a loop device, under a filesystem.
type recorder struct {
	fs.Inode

	mu      sync.Mutex
	content []byte
	ops     []diskOp
}

// diskOp is a write, or a flush, which has no data.
type diskOp struct {
	at   int64
	data []byte
}

func (op diskOp) flush() bool { return op.data == nil }

var (
	_ fs.NodeOpener    = (*recorder)(nil)
	_ fs.NodeReader    = (*recorder)(nil)
	_ fs.NodeWriter    = (*recorder)(nil)
	_ fs.NodeFsyncer   = (*recorder)(nil)
	_ fs.NodeGetattrer = (*recorder)(nil)
)

// Open has the kernel keep nothing back.
func (r *recorder) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (r *recorder) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o600, uint64(len(r.content))
	return 0
}

func (r *recorder) Read(_ context.Context, _ fs.FileHandle, dest []byte, at int64) (fuse.ReadResult, syscall.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := copy(dest, r.content[min(at, int64(len(r.content))):])
	return fuse.ReadResultData(slices.Clone(dest[:n])), 0
}

func (r *recorder) Write(_ context.Context, _ fs.FileHandle, data []byte, at int64) (uint32, syscall.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at+int64(len(data)) > int64(len(r.content)) {
		return 0, syscall.ENOSPC
	}
	copy(r.content[at:], data)
	r.ops = append(r.ops, diskOp{at, append([]byte{}, data...)})
	return uint32(len(data)), 0
}

func (r *recorder) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, diskOp{})
	return 0
}

// position is how much there is in the record.
func (r *recorder) position() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops)
}

// recorded mounts an empty ext4 on a recorder and returns where, and how the disk
// was at its beginning. end unmounts it.
func recorded(t *testing.T) (r *recorder, dir string, first []byte, end func()) {
	t.Helper()
	needRoot(t)
	image := filepath.Join(memoryDir(t), "disk")
	run(t, "truncate", "-s", "24M", image)
	run(t, "mkfs.ext4", "-q", "-F", image)
	first = read(t, image)
	r = &recorder{content: slices.Clone(first)}
	host, dir := t.TempDir(), t.TempDir()
	root := &fs.Inode{}
	server, err := fs.Mount(host, root, &fs.Options{
		OnAdd: func(ctx context.Context) {
			root.AddChild("disk", root.NewPersistentInode(ctx, r, fs.StableAttr{Mode: fuse.S_IFREG}), false)
		},
		MountOptions: fuse.MountOptions{DirectMount: true},
	})
	if err != nil {
		t.Fatalf("mount the recorder: %v", err)
	}
	end = sync.OnceFunc(func() {
		_ = unix.Unmount(dir, 0)
		_ = server.Unmount()
	})
	t.Cleanup(end)
	// Its journal has no clock that would write without being told to.
	run(t, "mount", "-o", "loop,commit=300", filepath.Join(host, "disk"), dir)
	return r, dir, first, end
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// boot mounts the disk as it was found after a power cut.
func boot(t *testing.T, content []byte) (dir string, halt func()) {
	t.Helper()
	image, dir := filepath.Join(memoryDir(t), "disk"), t.TempDir()
	if err := os.WriteFile(image, content, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-o", "loop", image, dir)
	return dir, func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
}
