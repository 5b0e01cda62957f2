package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lock takes the store for this process until the returned file is closed. The
// lock is on the directory itself, so that deleting a lock file cannot let a
// second process in; the file "lock" only tells who the holder is. The kernel
// drops the lock of a dead holder.
func lock(root *os.Root, dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open to lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, lockedError(root, dir)
		}
		return nil, fmt.Errorf("lock store: %w", err)
	}
	if err := writeHolder(root); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func lockedError(root *os.Root, dir string) error {
	e := &Error{Op: "open store", Path: dir, Err: ErrLocked, Hint: "only one rekindled may run on a node"}
	if data, err := root.ReadFile(lockFile); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
			e.Hint = fmt.Sprintf("the holder is process %d; %s", pid, e.Hint)
		}
	}
	return e
}

// writeHolder notes our pid. It is for people only and hence not synced.
func writeHolder(root *os.Root) error {
	if err := root.Remove(lockFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove lock file: %w", err)
	}
	f, err := root.OpenFile(lockFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return fmt.Errorf("create lock file: %w", err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%d\n", os.Getpid()); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	return nil
}

// openRoot makes the store's directory if there is none and refuses one that
// somebody else could have put there.
func openRoot(dir string) (*os.Root, error) {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) == "/" {
		return nil, &Error{Op: "open store", Path: dir, Err: ErrUnsafe, Hint: "give the absolute path of a directory of its own"}
	}
	if err := makeRoot(dir); err != nil {
		return nil, err
	}
	before, err := os.Lstat(dir)
	if err != nil {
		return nil, fmt.Errorf("examine store: %w", err)
	}
	if err := checkRoot(dir, before); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	after, err := root.Stat(".")
	if err == nil && !os.SameFile(before, after) {
		err = &Error{Op: "open store", Path: dir, Err: ErrUnsafe, Hint: "the directory was exchanged while it was opened"}
	}
	if err == nil && after.Mode().Perm() != dirMode {
		err = root.Chmod(".", dirMode)
	}
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("open store: %w", err)
	}
	return root, nil
}

func makeRoot(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("make parent of store: %w", err)
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make store: %w", err)
	}
	return nil
}

func checkRoot(dir string, info fs.FileInfo) error {
	e := &Error{Op: "open store", Path: dir, Err: ErrUnsafe}
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		e.Hint = "it is a symbolic link; give the path it points to"
	case !info.IsDir():
		e.Hint = "it is not a directory"
	case owner != 0 && int(owner) != os.Geteuid():
		e.Hint = fmt.Sprintf("it belongs to user %d; the store must belong to root", owner)
	default:
		return nil
	}
	return e
}
