package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/store"
)

// TestVerifyFindsEveryChange spoils each file of a checkpoint in each way.
func TestVerifyFindsEveryChange(t *testing.T) {
	ways := map[string]func(path string, info os.FileInfo) error{
		"Truncate":  func(p string, info os.FileInfo) error { return os.Truncate(p, info.Size()-1) },
		"Empty":     func(p string, _ os.FileInfo) error { return os.Truncate(p, 0) },
		"Grow":      func(p string, info os.FileInfo) error { return os.Truncate(p, info.Size()+1) },
		"FlipFirst": func(p string, _ os.FileInfo) error { return flip(p, 0) },
		"FlipLast":  func(p string, info os.FileInfo) error { return flip(p, info.Size()-1) },
		"Remove":    func(p string, _ os.FileInfo) error { return os.Remove(p) },
		"Symlink": func(p string, _ os.FileInfo) error {
			return errors.Join(os.Rename(p, filepath.Dir(p)+"/../../kept"), os.Symlink("../../kept", p))
		},
		"Directory": func(p string, _ os.FileInfo) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
		"FIFO":      func(p string, _ os.FileInfo) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o600)) },
		"Hardlink":  func(p string, _ os.FileInfo) error { return os.Link(p, filepath.Dir(p)+"/../../kept") },
		"Sibling":   func(p string, _ os.FileInfo) error { return os.WriteFile(p+"x", nil, 0o600) },
	}
	files := []string{"manifest.json", "config.json", "criu/inventory.img", "criu/pages-1.img", "rootfs/etc/motd", "shm/seg"}
	for way, spoil := range ways {
		for _, file := range files {
			if way == "Hardlink" && file == "manifest.json" {
				continue // changes nothing: the manifest's digest is checked on every read
			}
			t.Run(way+"/"+file, func(t *testing.T) {
				s := open(t, t.TempDir())
				cp := commit(t, s, redis)
				p := filepath.Join(cp.Dir(), file)
				info, err := os.Lstat(p)
				if err != nil {
					t.Fatal(err)
				}
				if err := spoil(p, info); err != nil {
					t.Fatal(err)
				}
				if err := s.Verify(context.Background(), cp, store.Full); !errors.Is(err, store.ErrCorrupt) {
					t.Fatalf("Verify=%v, want ErrCorrupt", err)
				}
				quick := s.Verify(context.Background(), cp, store.Quick)
				if rootfsDigest := strings.HasPrefix(file, "rootfs") && strings.HasPrefix(way, "Flip"); (quick == nil) != rootfsDigest {
					t.Fatalf("quick Verify=%v", quick)
				}
			})
		}
	}
}

func flip(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	return err
}

func TestVerifyModeOwnerAndMount(t *testing.T) {
	tests := map[string]func(dir string) error{
		"Mode":    func(dir string) error { return os.Chmod(filepath.Join(dir, "criu/inventory.img"), 0o644) },
		"DirMode": func(dir string) error { return os.Chmod(filepath.Join(dir, "rootfs/etc"), 0o777) },
		"Setuid":  func(dir string) error { return os.Chmod(filepath.Join(dir, "rootfs/etc/motd"), 0o644|os.ModeSetuid) },
		"Xattr": func(dir string) error {
			return unix.Setxattr(filepath.Join(dir, "rootfs/etc"), "user.x", []byte("1"), 0)
		},
		"EmptyDir":     func(dir string) error { return os.Mkdir(filepath.Join(dir, "rootfs/new"), 0o755) },
		"TempManifest": func(dir string) error { return os.WriteFile(filepath.Join(dir, "manifest.json.tmp"), nil, 0o600) },
		"Owner": func(dir string) error {
			if os.Geteuid() != 0 {
				return os.Remove(filepath.Join(dir, "config.json"))
			}
			return os.Chown(filepath.Join(dir, "config.json"), 1, 1)
		},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			cp := commit(t, s, redis)
			if err := spoil(cp.Dir()); err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(context.Background(), cp, store.Quick); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("Verify=%v, want ErrCorrupt", err)
			}
		})
	}
}

func TestVerifySwapped(t *testing.T) {
	s := open(t, t.TempDir())
	a, b := commit(t, s, redis), commit(t, s, redis)
	t.Run("PagesOfAnother", func(t *testing.T) {
		if err := swap(a.Dir()+"/criu/pages-1.img", b.Dir()+"/criu/pages-1.img"); err != nil {
			t.Fatal(err)
		}
		for _, cp := range []store.Checkpoint{a, b} {
			if err := s.Verify(context.Background(), cp, store.Full); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("Verify=%v, want ErrCorrupt", err)
			}
		}
	})
	t.Run("WholeDirectory", func(t *testing.T) {
		if err := swap(a.Dir(), b.Dir()); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, list(t, s, redis))
		if _, err := s.Get(a.ID); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("Get=%v, want ErrCorrupt", err)
		}
	})
	t.Run("OtherLineage", func(t *testing.T) {
		c := commit(t, s, redis)
		other := store.Lineage{Namespace: "evil", Workload: "w", Container: "c"}
		to := filepath.Join(s.Path(), "checkpoints/evil/w/c")
		if err := errors.Join(os.MkdirAll(to, 0o700), os.Rename(c.Dir(), filepath.Join(to, c.ID))); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, list(t, s, other))
	})
	t.Run("Gone", func(t *testing.T) {
		d := commit(t, s, redis)
		if err := s.Remove(context.Background(), d.ID); err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(context.Background(), d, store.Quick); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Verify=%v, want ErrNotFound", err)
		}
	})
}

func swap(a, b string) error {
	return errors.Join(os.Rename(a, a+"-"), os.Rename(b, a), os.Rename(a+"-", b))
}

func TestVerifyQuickLeavesPagesAlone(t *testing.T) {
	s := open(t, t.TempDir())
	st := begin(t, s, redis)
	fill(t, st.Dir())
	pages := filepath.Join(st.Dir(), "criu/pages-2.img")
	write(t, pages, "")
	if err := os.Truncate(pages, 200<<20); err != nil {
		t.Fatal(err)
	}
	cp, err := st.Commit(context.Background(), store.Manifest{})
	if err != nil {
		t.Fatal(err)
	}
	// Reading the pages takes a good part of a second every time; a busy machine
	// holds up one call, not each of them.
	best := time.Hour
	for range 5 {
		start := time.Now()
		if err := s.Verify(context.Background(), cp, store.Quick); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(start))
	}
	if best > 100*time.Millisecond {
		t.Fatalf("quick Verify took %v at best, want milliseconds", best)
	}
}

func TestReportsUnsound(t *testing.T) {
	var paths []string
	s := open(t, t.TempDir(), store.WithReport(func(path string, err error) {
		if !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("report %s: %v, want ErrCorrupt", path, err)
		}
		paths = append(paths, path)
	}))
	good, bad := commit(t, s, redis), commit(t, s, redis)
	if err := flip(filepath.Join(bad.Dir(), "manifest.json"), 300); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, list(t, s, redis), good.ID)
	if len(paths) != 1 || filepath.Base(paths[0]) != bad.ID {
		t.Fatalf("reported %v, want %s", paths, bad.ID)
	}
	if err := s.Quarantine(bad.ID, "flipped"); err != nil {
		t.Fatal(err)
	}
	paths = nil
	if list(t, s, redis); len(paths) != 0 {
		t.Fatalf("reported %v after quarantine", paths)
	}
}

func TestRestoreTreesAreKept(t *testing.T) {
	needRoot(t)
	s := open(t, t.TempDir())
	st := begin(t, s, redis)
	fill(t, st.Dir())
	rootfs := filepath.Join(st.Dir(), "rootfs")
	odd := "caf\xe9 %41\n\u202e"
	err := errors.Join(
		unix.Mknod(filepath.Join(rootfs, "gone"), unix.S_IFCHR, 0),
		unix.Mknod(filepath.Join(rootfs, "sock"), unix.S_IFSOCK|0o755, 0),
		syscall.Mkfifo(filepath.Join(rootfs, "pipe"), 0o640),
		os.Symlink("/etc/../../outside\xff", filepath.Join(rootfs, "link")),
		os.WriteFile(filepath.Join(rootfs, odd), []byte("x"), 0o600),
		os.Link(filepath.Join(rootfs, "etc/motd"), filepath.Join(rootfs, "motd2")),
		os.Lchown(filepath.Join(rootfs, "link"), 5, 6),
		os.Chown(filepath.Join(rootfs, "etc/motd"), 1000, 1001),
		os.Chmod(filepath.Join(rootfs, "etc/motd"), 0o755|os.ModeSetuid),
		unix.Setxattr(filepath.Join(rootfs, "etc"), "trusted.overlay.opaque", []byte("y"), 0),
	)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := st.Commit(context.Background(), store.Manifest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(context.Background(), cp, store.Full); err != nil {
		t.Fatal(err)
	}
	files := map[string]store.File{}
	for _, f := range cp.Files {
		files[f.Path] = f
	}
	for path, want := range map[string]store.FileType{
		"rootfs/gone": store.TypeWhiteout, "rootfs/sock": store.TypeSocket, "rootfs/pipe": store.TypeFIFO,
		"rootfs/link": store.TypeSymlink, "rootfs/" + odd: store.TypeFile, "rootfs/motd2": store.TypeHardlink,
	} {
		if got := files[path].Type; got != want {
			t.Errorf("%q is a %q, want %q", path, got, want)
		}
	}
	if f := files["rootfs/etc/motd"]; f.UID != 1000 || f.GID != 1001 || f.Mode != 0o4755 || f.FileMode() != 0o755|os.ModeSetuid {
		t.Errorf("motd=%+v", f)
	}
	if f := files["rootfs/link"]; f.Link != "/etc/../../outside\xff" || f.UID != 5 {
		t.Errorf("link=%+v", f)
	}
	if files["rootfs/etc"].Xattrs == "" || files["rootfs"].Xattrs != "" {
		t.Errorf("xattrs=%q, %q", files["rootfs/etc"].Xattrs, files["rootfs"].Xattrs)
	}
	t.Run("Spoiled", func(t *testing.T) {
		for name, spoil := range map[string]func(dir string) error{
			"Opaque": func(d string) error { return unix.Removexattr(filepath.Join(d, "etc"), "trusted.overlay.opaque") },
			"Retouch": func(d string) error {
				return replace(filepath.Join(d, "link"), func(p string) error { return os.Symlink("/x", p) })
			},
			"Unlink": func(d string) error {
				return replace(filepath.Join(d, "motd2"), func(p string) error { return os.WriteFile(p, []byte("hello"), 0o755) })
			},
			"Device": func(d string) error {
				return replace(filepath.Join(d, "gone"), func(p string) error { return unix.Mknod(p, unix.S_IFCHR, 0x103) })
			},
		} {
			now := filepath.Join(cp.Dir(), "rootfs")
			saved := t.TempDir() + "/saved"
			if err := errors.Join(copyTree(now, saved), spoil(now)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := s.Verify(context.Background(), cp, store.Quick); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("%s: Verify=%v, want ErrCorrupt", name, err)
			}
			if err := errors.Join(os.RemoveAll(now), os.Rename(saved, now)); err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(context.Background(), cp, store.Quick); err != nil {
				t.Fatalf("%s: Verify of what was put back: %v", name, err)
			}
		}
	})
}

func replace(path string, fn func(string) error) error { return errors.Join(os.Remove(path), fn(path)) }

// copyTree copies a tree with all that a checkpoint records.
func copyTree(from, to string) error {
	out, err := exec.Command("cp", "-a", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	return nil
}
