package store

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/rekindle-dev/rekindle/fail"
)

// Remove removes a checkpoint and its marks. The checkpoint is invisible from
// the first moment, whatever interrupts the rest. A process that has its files
// open can go on reading them.
//
// It returns [ErrInUse] for one that is held, see [Store.Hold], and [ErrPinned]
// for one that is pinned.
func (s *Store) Remove(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.take(id, func(l Lineage) error {
		if s.inUse(id) {
			return ErrInUse
		}
		if err := s.unpinned(id); err != nil {
			return err
		}
		return s.toTrash(l, id)
	})
	if err != nil {
		return &Error{Op: "remove", ID: id, Err: err}
	}
	err = s.dropMarks(id)
	if ferr := fail.RemoveDelete.Hit(); ferr != nil {
		err = errors.Join(err, ferr)
	} else {
		err = errors.Join(err, s.root.RemoveAll(path.Join(trashDir, id)))
	}
	if err != nil {
		return &Error{Op: "remove", ID: id, Err: err, Hint: "what is left is swept later"}
	}
	return nil
}

// EmptyTrash deletes what a removal could not, because the disk failed for a
// moment. What cannot be deleted now, either, is reported ([WithReport]) and stays.
func (s *Store) EmptyTrash() error { return s.sweep(trashDir, func(string) bool { return false }) }

// take finds a checkpoint and calls fn with the store locked.
func (s *Store) take(id string, fn func(Lineage) error) error {
	if _, err := parseID(id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	l, err := s.locate(id)
	if err != nil {
		return err
	}
	return fn(l)
}

// toTrash takes a checkpoint out of sight. The caller holds s.mu.
func (s *Store) toTrash(l Lineage, id string) error {
	return s.move(l, id, path.Join(trashDir, id), fail.RemoveMove, fail.RemoveSync)
}

// move renames a checkpoint's directory out of its lineage, durably.
func (s *Store) move(l Lineage, id, to string, before, between *fail.Point) error {
	if err := before.Hit(); err != nil {
		return err
	}
	s.distrust(id)
	if err := s.root.RemoveAll(to); err != nil {
		return fmt.Errorf("make way: %w", err)
	}
	if err := s.root.Rename(path.Join(l.path(), id), to); err != nil {
		return fmt.Errorf("move checkpoint: %w", err)
	}
	if err := between.Hit(); err != nil {
		return err
	}
	if err := errors.Join(syncPath(s.root, l.path()), syncPath(s.root, path.Dir(to))); err != nil {
		return err
	}
	s.prune(l)
	return nil
}

// prune removes the directories of a lineage that have become empty. The first
// that is not, or cannot be removed, ends it; either is harmless.
func (s *Store) prune(l Lineage) {
	for dir := l.path(); dir != checkpointsDir; dir = path.Dir(dir) {
		if s.root.Remove(dir) != nil {
			return
		}
	}
}

// clip cuts a reason to what is kept of one.
func clip(text string) string { return strings.ToValidUTF8(text[:min(len(text), maxReason)], "?") }
