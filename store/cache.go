package store

import (
	"context"
	"os"
	"syscall"
)

// DropCache gives the memory back that the files of a checkpoint take up in the
// page cache. Whoever needs them reads them from the disk again.
func (s *Store) DropCache(ctx context.Context, cp Checkpoint) error {
	root, err := s.openCheckpoint(cp.Lineage, cp.ID)
	if err != nil {
		return &Error{Op: "drop cache", ID: cp.ID, Err: err}
	}
	defer root.Close()
	entries, err := scan(ctx, root)
	if err != nil {
		return &Error{Op: "drop cache", ID: cp.ID, Err: err}
	}
	for _, e := range entries {
		if e.Type != TypeFile {
			continue
		}
		f, err := root.OpenFile(e.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return &Error{Op: "drop cache", ID: cp.ID, Path: e.Path, Err: err}
		}
		dropCache(f)
		_ = f.Close()
	}
	return nil
}
