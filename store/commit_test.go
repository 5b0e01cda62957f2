package store_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/fail"
	"github.com/rekindle-dev/rekindle/store"
)

func TestCommitRoundTrip(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	st := begin(t, s, redis)
	fill(t, st.Dir())
	want := store.Manifest{
		Node: "n1", BootID: "b", Kernel: "6.1", Arch: "amd64", CPUFeatures: "c", CRIU: "4.2", Runc: "1.5", Cgroup: "unified",
		PodName: "redis-0", PodUID: "u", SandboxID: "sb", ContainerID: "cid", ImageName: "redis:7", ImageDigest: "sha256:x",
		Fingerprint: "f", Trigger: "request", Reason: "asked \xff <by> a person", LeaveRunning: true,
		Pause: 40 * time.Millisecond, Dump: 300 * time.Millisecond,
	}
	cp, err := st.Commit(context.Background(), want)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir)
	got, err := s.Get(cp.ID)
	if err != nil || !reflect.DeepEqual(got, cp) {
		t.Fatalf("Get=%+v, %v, want %+v", got, err, cp)
	}
	want.Reason = "asked \ufffd <by> a person"
	want.Schema, want.ID, want.Created, want.Lineage = store.Schema, st.ID(), got.Created, redis
	want.Bytes, want.Files, want.KeyID, want.Digest, want.MAC = got.Bytes, got.Files, got.KeyID, got.Digest, got.MAC
	if !reflect.DeepEqual(got.Manifest, want) {
		t.Fatalf("Manifest=%+v, want %+v", got.Manifest, want)
	}
	if wantDir := filepath.Join(dir, "checkpoints/shop/redis-0/redis", cp.ID); got.Dir() != wantDir {
		t.Fatalf("Dir=%s, want %s", got.Dir(), wantDir)
	}
	if err := s.Verify(context.Background(), got, store.Full); err != nil {
		t.Fatal(err)
	}
	wantEmpty(t, dir, "staging")
	all, err := s.All(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	wantIDs(t, all, cp.ID)
}

func TestCommitMakesPrivate(t *testing.T) {
	cp := commit(t, open(t, t.TempDir()), redis)
	for name, want := range map[string]fs.FileMode{"criu": 0o700, "criu/inventory.img": 0o600, "config.json": 0o600, "rootfs/etc/motd": 0o644, "shm/seg": 0o644, "manifest.json": 0o600} {
		info, err := os.Stat(filepath.Join(cp.Dir(), name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v (%v), want %v", name, info.Mode(), err, want)
		}
	}
}

func TestStagingEnds(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	t.Run("Abort", func(t *testing.T) {
		st := begin(t, s, redis)
		fill(t, st.Dir())
		if err := errors.Join(st.Abort(), st.Abort()); err != nil {
			t.Fatal(err)
		}
		wantEmpty(t, dir, "staging")
		if _, err := st.Commit(context.Background(), store.Manifest{}); !errors.Is(err, store.ErrClosed) {
			t.Fatalf("Commit=%v, want ErrClosed", err)
		}
	})
	t.Run("CommitTwice", func(t *testing.T) {
		st := begin(t, s, redis)
		fill(t, st.Dir())
		cp, err := st.Commit(context.Background(), store.Manifest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Commit(context.Background(), store.Manifest{}); !errors.Is(err, store.ErrClosed) {
			t.Fatalf("Commit=%v, want ErrClosed", err)
		}
		if err := st.Abort(); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, list(t, s, redis), cp.ID)
	})
	t.Run("Cancelled", func(t *testing.T) {
		before := ids(list(t, s, redis))
		st := begin(t, s, redis)
		fill(t, st.Dir())
		ctx, cancel := context.WithCancel(context.Background())
		at(t, fail.CommitSyncFiles, cancel)
		if _, err := st.Commit(ctx, store.Manifest{}); !errors.Is(err, context.Canceled) {
			t.Fatalf("Commit=%v, want context.Canceled", err)
		}
		wantEmpty(t, dir, "staging")
		wantIDs(t, list(t, s, redis), before...)
	})
}

func TestStagingIsInvisibleAndSwept(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	st := begin(t, s, redis)
	fill(t, st.Dir())
	wantIDs(t, list(t, s, redis))
	if _, err := s.Get(st.ID()); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Get=%v, want ErrNotFound", err)
	}
	s.Close()
	write(t, filepath.Join(dir, "trash", st.ID(), "x"), "")
	open(t, dir)
	wantEmpty(t, dir, "staging")
	wantEmpty(t, dir, "trash")
}

// at has fn called at a point, for the rest of the test.
func at(t *testing.T, p *fail.Point, fn func()) {
	t.Helper()
	fail.Set(func(hit *fail.Point) error {
		if hit == p {
			fn()
		}
		return nil
	})
	t.Cleanup(func() { fail.Set(nil) })
}

// TestStepFails makes each step fail by taking away what it works on.
func TestStepFails(t *testing.T) {
	tests := map[*fail.Point]func(t *testing.T, dir string, st *store.Staging){
		fail.CommitScan: func(t *testing.T, _ string, st *store.Staging) {
			write(t, filepath.Join(st.Dir(), "manifest.json"), "{}")
		},
		fail.CommitDigest: func(t *testing.T, _ string, st *store.Staging) {
			write(t, filepath.Join(st.Dir(), "criu/inventory.img"), "longer than before")
		},
		fail.CommitSyncFiles: func(t *testing.T, _ string, st *store.Staging) { remove(t, filepath.Join(st.Dir(), "criu")) },
		fail.CommitSyncDirs:  func(t *testing.T, _ string, st *store.Staging) { remove(t, filepath.Join(st.Dir(), "shm")) },
		fail.CommitWriteManifest: func(t *testing.T, _ string, st *store.Staging) {
			write(t, filepath.Join(st.Dir(), "manifest.json.tmp"), "")
		},
		fail.CommitRenameManifest: func(t *testing.T, _ string, st *store.Staging) {
			remove(t, filepath.Join(st.Dir(), "manifest.json.tmp"))
		},
		fail.CommitMakeParents: func(t *testing.T, dir string, _ *store.Staging) { write(t, filepath.Join(dir, "checkpoints/shop"), "") },
		fail.CommitPlace: func(t *testing.T, dir string, st *store.Staging) {
			write(t, filepath.Join(dir, "checkpoints/shop/redis-0/redis", st.ID(), "x"), "")
		},
		fail.CommitSyncParents: func(t *testing.T, dir string, _ *store.Staging) { remove(t, filepath.Join(dir, "staging")) },
	}
	for step, breakIt := range tests {
		t.Run(step.String(), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			old := commit(t, s, store.Lineage{Namespace: "a", Workload: "b", Container: "c"})
			st := begin(t, s, redis)
			fill(t, st.Dir())
			at(t, step, func() { breakIt(t, dir, st) })
			if _, err := st.Commit(context.Background(), store.Manifest{}); err == nil {
				t.Fatal("Commit succeeded")
			}
			if got, err := s.All(context.Background()); err != nil || len(got) != 1 || got[0].ID != old.ID {
				t.Fatalf("All=%v, %v, want %s", ids(got), err, old.ID)
			}
			if _, err := os.Lstat(st.Dir()); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("staging is still there: %v", err)
			}
			wantEmpty(t, dir, "trash")
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func TestCommitRefuses(t *testing.T) {
	tests := map[string]func(dir string) error{
		"SymlinkInCRIU": func(dir string) error { return os.Symlink("/etc/shadow", filepath.Join(dir, "criu/core-1.img")) },
		"SymlinkAtTop":  func(dir string) error { return os.Symlink("criu", filepath.Join(dir, "other")) },
		"SymlinkInShm":  func(dir string) error { return os.Symlink("x", filepath.Join(dir, "shm/link")) },
		"FIFOInCRIU":    func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "criu/p"), 0o600) },
		"HardlinkInCRIU": func(dir string) error {
			return os.Link(filepath.Join(dir, "config.json"), filepath.Join(dir, "criu/c"))
		},
		"HardlinkOutside": func(dir string) error { return os.Link(filepath.Join(dir, "rootfs/etc/motd"), dir+".motd") },
		"HardlinkIntoTree": func(dir string) error {
			return os.Link(filepath.Join(dir, "rootfs/etc/motd"), filepath.Join(dir, "zz"))
		},
		"Device": func(dir string) error {
			return unix.Mknod(filepath.Join(dir, "rootfs/null"), unix.S_IFCHR|0o600, 0x103)
		},
		"WhiteoutInCRIU": func(dir string) error { return unix.Mknod(filepath.Join(dir, "criu/w"), unix.S_IFCHR|0o600, 0) },
		"RootfsIsAFile": func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, "rootfs")), os.WriteFile(filepath.Join(dir, "rootfs"), nil, 0o600))
		},
		"TooDeep": func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, "rootfs", strings.Repeat("d/", 300)), 0o700)
		},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "Device") || strings.HasPrefix(name, "Whiteout") {
				needRoot(t)
			}
			dir := t.TempDir()
			s := open(t, dir)
			st := begin(t, s, redis)
			fill(t, st.Dir())
			if err := spoil(st.Dir()); err != nil {
				t.Fatal(err)
			}
			if _, err := st.Commit(context.Background(), store.Manifest{}); err == nil {
				t.Fatal("Commit succeeded")
			}
			wantIDs(t, list(t, s, redis))
		})
	}
}
