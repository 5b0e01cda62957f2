package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// recover brings the store from whatever a crash left to a clean state. Only
// what cannot be a committed checkpoint is removed; what cannot be removed is
// reported and left, since it is invisible anyway.
func (s *Store) recover() error {
	ids, err := s.findNewest()
	if err != nil {
		return err
	}
	for _, dir := range []string{stagingDir, trashDir} {
		if err := s.sweep(dir, func(string) bool { return false }); err != nil {
			return err
		}
	}
	quarantined, err := s.subdirs(quarantineDir, validID)
	if err != nil {
		return err
	}
	err = s.sweep(quarantineDir, func(name string) bool {
		id, isReason := strings.CutSuffix(name, reasonExt)
		return slices.Contains(quarantined, id) || !isReason && !strings.HasSuffix(name, tempExt)
	})
	if err != nil {
		return err
	}
	err = s.sweep(marksDir, func(name string) bool {
		id, isMarks := strings.CutSuffix(name, marksExt)
		return isMarks && ids[id]
	})
	if err != nil {
		return err
	}
	return s.recoverLogs()
}

// findNewest returns the ids of all checkpoints and sets s.last to the newest
// id anywhere in the store, so that new ones sort after it even if the clock
// has stepped back since.
func (s *Store) findNewest() (map[string]bool, error) {
	committed := map[string]bool{}
	note := func(id string) {
		if u, err := parseID(id); err == nil && u.Compare(s.last) > 0 {
			s.last = u
		}
	}
	err := s.lineages(func(l Lineage) error {
		ids, err := s.subdirs(l.path(), validID)
		for _, id := range ids {
			committed[id] = true
			note(id)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{stagingDir, trashDir, quarantineDir} {
		ids, err := s.subdirs(dir, validID)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			note(id)
		}
	}
	return committed, nil
}

// sweep removes everything in dir but what keep names.
func (s *Store) sweep(dir string, keep func(name string) bool) error {
	names, err := s.names(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if keep(n) {
			continue
		}
		if err := s.root.RemoveAll(path.Join(dir, n)); err != nil {
			s.report(path.Join(dir, n), fmt.Errorf("sweep leftover: %w", err))
		}
	}
	return nil
}

func (s *Store) names(dir string) ([]string, error) { return namesIn(s.root, dir) }

func namesIn(root *os.Root, dir string) ([]string, error) {
	d, err := root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list directory: %w", err)
	}
	return names, nil
}
