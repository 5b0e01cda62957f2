package shim

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// copied copies src and returns the copy.
func copied(t *testing.T, src string) string {
	t.Helper()
	dst := t.TempDir()
	_, err := copyTree(context.Background(), dst, src, 1<<40, false)
	must(t, err)
	return dst
}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st
}

func TestCopyTreeKeepsAttributes(t *testing.T) {
	src := t.TempDir()
	file := filepath.Join(src, "sub", "file")
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, []byte("hello"), 0o640))
	must(t, os.Chown(file, 1234, 5678))
	must(t, unix.Chmod(file, 0o4750))
	must(t, unix.Lsetxattr(file, "user.note", []byte("x"), 0))
	must(t, unix.Lsetxattr(filepath.Dir(file), "trusted.overlay.opaque", []byte("y"), 0))
	must(t, unix.Lsetxattr(file, "trusted.overlay.origin", []byte("z"), 0))
	past := time.Unix(1_000_000_000, 42)
	must(t, os.Chtimes(file, past, past))
	must(t, os.Chtimes(filepath.Dir(file), past, past))

	dst := copied(t, src)
	file = filepath.Join(dst, "sub", "file")
	st := stat(t, file)
	if st.Uid != 1234 || st.Gid != 5678 || st.Mode&0o7777 != 0o4750 {
		t.Errorf("owner %d:%d mode %o, want 1234:5678 4750", st.Uid, st.Gid, st.Mode&0o7777)
	}
	if got := time.Unix(st.Mtim.Unix()); !got.Equal(past) {
		t.Errorf("file's mtime %s, want %s", got, past)
	}
	if got := time.Unix(unixOf(stat(t, filepath.Dir(file)))); !got.Equal(past) {
		t.Errorf("directory's mtime %s, want %s", got, past)
	}
	buf := make([]byte, 8)
	if n, err := unix.Lgetxattr(file, "user.note", buf); err != nil || string(buf[:n]) != "x" {
		t.Errorf("user.note = %q, %v", buf[:max(n, 0)], err)
	}
	if n, err := unix.Lgetxattr(filepath.Dir(file), "trusted.overlay.opaque", buf); err != nil || string(buf[:n]) != "y" {
		t.Errorf("opaque mark lost: %v", err)
	}
	if _, err := unix.Lgetxattr(file, "trusted.overlay.origin", buf); err == nil {
		t.Error("overlay's own note was copied")
	}
}

func unixOf(st unix.Stat_t) (int64, int64) { return st.Mtim.Unix() }

func TestCopyTreeKeepsKinds(t *testing.T) {
	src := t.TempDir()
	at := func(name string) string { return filepath.Join(src, name) }
	must(t, unix.Mknod(at("whiteout"), unix.S_IFCHR, 0))
	must(t, unix.Mkfifo(at("fifo"), 0o600))
	must(t, os.Symlink("/etc/shadow", at("link")))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: at("socket")}))
	must(t, unix.Close(fd))
	must(t, os.WriteFile(at("one"), []byte("same"), 0o600))
	must(t, os.Link(at("one"), at("two")))
	must(t, os.Mkdir(at("dir"), 0o700))
	must(t, os.Link(at("one"), at("dir/three")))
	sparse, err := os.OpenFile(at("sparse"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	must(t, err)
	_, err = sparse.WriteAt([]byte("end"), 64<<20)
	must(t, err)
	must(t, sparse.Close())

	dst := copied(t, src)
	at = func(name string) string { return filepath.Join(dst, name) }
	if st := stat(t, at("whiteout")); st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("whiteout became %o %d", st.Mode, st.Rdev)
	}
	if st := stat(t, at("fifo")); st.Mode&unix.S_IFMT != unix.S_IFIFO {
		t.Errorf("FIFO became %o", st.Mode)
	}
	if to, err := os.Readlink(at("link")); err != nil || to != "/etc/shadow" {
		t.Errorf("link to %q, %v", to, err)
	}
	if _, err := os.Lstat(at("socket")); !os.IsNotExist(err) { //nolint:forbidigo // a test
		t.Errorf("socket was copied: %v", err)
	}
	one := stat(t, at("one"))
	for _, name := range []string{"two", "dir/three"} {
		if other := stat(t, at(name)); other.Ino != one.Ino {
			t.Errorf("%s is no hard link any more", name)
		}
	}
	st := stat(t, at("sparse"))
	if st.Size != 64<<20+3 || st.Blocks*512 > 1<<20 {
		t.Errorf("sparse file: %d bytes, %d on disk", st.Size, st.Blocks*512)
	}
}

func TestCopyTreeFollowsNoLink(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "victim")
	must(t, os.WriteFile(outside, []byte("untouched"), 0o600))
	src, dst := t.TempDir(), t.TempDir()
	must(t, os.Mkdir(filepath.Join(src, "dir"), 0o700))
	must(t, os.WriteFile(filepath.Join(src, "dir", "victim"), []byte("overwritten"), 0o600))
	must(t, os.Symlink(filepath.Dir(outside), filepath.Join(dst, "dir")))
	if _, err := copyTree(context.Background(), dst, src, 1<<40, true); err == nil {
		t.Error("a directory was written through a link")
	}
	if data, _ := os.ReadFile(outside); string(data) != "untouched" {
		t.Errorf("file outside was written: %q", data)
	}
}

func TestCopyTreeKeep(t *testing.T) {
	tests := map[string]struct {
		there string
		err   error
	}{
		"the same file is there": {"content", nil},
		"another file is there":  {"CONTENT", errDiffers},
		"a shorter file":         {"cont", errDiffers},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			src, dst := t.TempDir(), t.TempDir()
			must(t, os.WriteFile(filepath.Join(src, "both"), []byte("content"), 0o600))
			must(t, os.WriteFile(filepath.Join(src, "only"), []byte("new"), 0o600))
			must(t, os.WriteFile(filepath.Join(dst, "both"), []byte(tt.there), 0o600))
			if _, err := copyTree(context.Background(), dst, src, 1<<40, true); !errors.Is(err, tt.err) {
				t.Fatalf("got %v, want %v", err, tt.err)
			}
			if data, _ := os.ReadFile(filepath.Join(dst, "both")); string(data) != tt.there {
				t.Errorf("the other container's file became %q", data)
			}
			if data, _ := os.ReadFile(filepath.Join(dst, "only")); tt.err == nil && string(data) != "new" {
				t.Errorf("missing file: %q", data)
			}
		})
	}
}

func TestCopyTreeOverwritesNothing(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(src, "file"), []byte("new"), 0o600))
	must(t, os.WriteFile(filepath.Join(dst, "file"), []byte("old"), 0o600))
	if _, err := copyTree(context.Background(), dst, src, 1<<40, false); err == nil {
		t.Error("an existing file was overwritten")
	}
}

func TestCopyTreeIsBounded(t *testing.T) {
	src := t.TempDir()
	must(t, os.WriteFile(filepath.Join(src, "file"), make([]byte, 1<<20), 0o600))
	if _, err := copyTree(context.Background(), t.TempDir(), src, 1<<19, false); !errors.Is(err, errTooLarge) {
		t.Errorf("got %v, want %v", err, errTooLarge)
	}
}

// An entry that was exchanged for a link a moment ago keeps its target as it is.
func TestAttributesFollowNoLink(t *testing.T) {
	victim := filepath.Join(t.TempDir(), "victim")
	must(t, os.WriteFile(victim, nil, 0o600))
	src, dst := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(src, "file"), nil, 0o777))
	must(t, os.Symlink(victim, filepath.Join(dst, "file")))
	from, err := openDir(unix.AT_FDCWD, src)
	must(t, err)
	to, err := openDir(unix.AT_FDCWD, dst)
	must(t, err)
	st := stat(t, filepath.Join(src, "file"))
	st.Mode |= 0o4000
	_ = copyAttributes(to, "file", from, "file", &st)
	if got := stat(t, victim).Mode & 0o7777; got != 0o600 {
		t.Errorf("the link's target has mode %o now", got)
	}
}

func TestCopyTreeEndsWithItsContext(t *testing.T) {
	src := t.TempDir()
	must(t, os.WriteFile(filepath.Join(src, "file"), nil, 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := copyTree(ctx, t.TempDir(), src, 1<<40, false); err == nil {
		t.Error("copied although the context had ended")
	}
}
