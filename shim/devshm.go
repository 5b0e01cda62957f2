package shim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// asideName is where the present content of /dev/shm waits while a restore is
// tried.
const asideName = ".rekindle-aside"

// shmSwap is the exchange of a pod's /dev/shm for the captured one.
type shmSwap struct {
	root  *os.Root
	aside bool
	// made are the names that were added.
	made []string
}

// putShm fills the pod's /dev/shm from the captured one. When the container has
// it to itself, what lies there is set aside, so that the processes find
// exactly what they left. With other containers alive their files stay, missing
// ones are added, and a file that differs ends the restore: it would be joined
// with memory of another moment.
func putShm(ctx context.Context, dir, captured string, own bool) (*shmSwap, error) {
	swap := &shmSwap{}
	if _, err := os.Lstat(captured); dir == "" || errors.Is(err, os.ErrNotExist) {
		return swap, nil
	}
	var err error
	if swap.root, err = os.OpenRoot(dir); err != nil {
		return swap, err
	}
	if own {
		if err := swap.setAside(); err != nil {
			return swap, errors.Join(err, swap.undo())
		}
	}
	if swap.made, err = copyTree(ctx, dir, captured, math.MaxInt64, !own); err != nil {
		return swap, errors.Join(err, swap.undo())
	}
	return swap, nil
}

func (s *shmSwap) setAside() error {
	if err := s.root.Mkdir(asideName, 0o700); err != nil {
		return fmt.Errorf("set content aside: %w", err)
	}
	s.aside = true
	return s.each(".", func(name string) error {
		if name == asideName {
			return nil
		}
		return s.root.Rename(name, asideName+"/"+name)
	})
}

// undo brings the former content back.
func (s *shmSwap) undo() error {
	if s.root == nil {
		return nil
	}
	defer s.close()
	for _, name := range slices.Backward(s.made) {
		// A directory that another container has put something into stays.
		if err := s.root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
			return fmt.Errorf("bring /dev/shm back: %w", err)
		}
	}
	if !s.aside {
		return nil
	}
	err := s.each(".", func(name string) error {
		if name == asideName {
			return nil
		}
		return s.root.RemoveAll(name)
	})
	if err == nil {
		err = s.each(asideName, func(name string) error { return s.root.Rename(asideName+"/"+name, name) })
	}
	if err == nil {
		err = s.root.Remove(asideName)
	}
	if err != nil {
		return fmt.Errorf("bring /dev/shm back: %w", err)
	}
	return nil
}

// done drops the former content.
func (s *shmSwap) done() {
	if s.root == nil {
		return
	}
	defer s.close()
	if s.aside {
		// What cannot be removed costs the pod some shared memory, and the
		// restored container nothing.
		_ = s.root.RemoveAll(asideName)
	}
}

func (s *shmSwap) close() {
	_ = s.root.Close()
	s.root = nil
}

// each calls f with every name in a directory of the root.
func (s *shmSwap) each(dir string, f func(name string) error) error {
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := f(name); err != nil {
			return err
		}
	}
	return nil
}
