package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/fail"
)

// maxQuarantine is how many checkpoints quarantine holds; the oldest make way.
const maxQuarantine = 8

const reasonExt = ".reason"

// Quarantine takes a checkpoint out of selection, with its manifest sound or
// not, and keeps it for a person to look at. Its marks are dropped. Quarantine
// holds the last eight.
func (s *Store) Quarantine(id, reason string) error {
	err := s.take(id, func(l Lineage) error {
		return s.move(l, id, path.Join(quarantineDir, id), fail.QuarantineMove, fail.QuarantineSync)
	})
	if err == nil {
		err = fail.QuarantineReason.Hit()
	}
	if err != nil {
		return &Error{Op: "quarantine", ID: id, Err: err}
	}
	reason = clip(reason) + "\n"
	err = errors.Join(
		s.writeFile(path.Join(quarantineDir, id+reasonExt), []byte(reason)),
		s.dropMarks(id),
		s.boundQuarantine(),
	)
	if err != nil {
		return &Error{Op: "quarantine", ID: id, Err: err}
	}
	return nil
}

func (s *Store) boundQuarantine() error {
	if err := fail.QuarantineBound.Hit(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ids, err := s.subdirs(quarantineDir, validID)
	if err != nil {
		return err
	}
	slices.Sort(ids)
	for _, id := range ids[:max(len(ids)-maxQuarantine, 0)] {
		if err := s.dropQuarantined(id); err != nil {
			return err
		}
	}
	return nil
}

// dropQuarantined removes one for good. The caller holds s.mu.
func (s *Store) dropQuarantined(id string) error {
	p := path.Join(quarantineDir, id)
	if err := s.root.Remove(p + reasonExt); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove reason: %w", err)
	}
	if err := s.root.RemoveAll(p); err != nil {
		return fmt.Errorf("remove from quarantine: %w", err)
	}
	return nil
}

// Quarantined is a checkpoint in quarantine.
type Quarantined struct {
	ID string
	// Reason is why it is there, and Since when it came; empty and zero where
	// that was not written down any more.
	Reason string
	Since  time.Time
	// Manifest is the zero value if it cannot be used.
	Manifest Manifest
	// Dir is the absolute path of its directory.
	Dir string
}

// Quarantined lists what is in quarantine, the newest checkpoint first.
func (s *Store) Quarantined() ([]Quarantined, error) {
	ids, err := s.subdirs(quarantineDir, validID)
	if err != nil {
		return nil, fmt.Errorf("list quarantine: %w", err)
	}
	var list []Quarantined
	for _, id := range ids {
		p := path.Join(quarantineDir, id)
		q := Quarantined{ID: id, Dir: filepath.Join(s.path, p)}
		if f, err := s.root.Open(p + reasonExt); err == nil {
			if info, err := f.Stat(); err == nil {
				q.Since = info.ModTime()
			}
			text, _ := io.ReadAll(io.LimitReader(f, maxReason+1))
			q.Reason = strings.TrimSuffix(string(text), "\n")
			_ = f.Close()
		}
		q.Manifest, _ = s.quarantinedManifest(id)
		list = append(list, q)
	}
	slices.SortFunc(list, func(a, b Quarantined) int { return cmp.Compare(b.ID, a.ID) })
	return list, nil
}

func (s *Store) quarantinedManifest(id string) (Manifest, error) {
	root, err := s.openDir(path.Join(quarantineDir, id))
	if err != nil {
		return Manifest{}, err
	}
	defer root.Close()
	m, _, err := readManifest(root)
	if err == nil {
		err = s.keyring.authentic(m)
	}
	if err == nil && m.ID != id {
		err = fmt.Errorf("%w: manifest is that of %s", ErrCorrupt, m.ID)
	}
	if err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// Release brings a checkpoint from quarantine back to its place, if all of it
// verifies; [ErrCorrupt] if not. It has no marks then, as if it was new.
func (s *Store) Release(ctx context.Context, id string) (Checkpoint, error) {
	l, err := s.releasable(ctx, id)
	if err == nil {
		err = s.release(l, id)
	}
	if err != nil {
		return Checkpoint{}, &Error{Op: "release", ID: id, Err: err}
	}
	return s.load(l, id)
}

func (s *Store) releasable(ctx context.Context, id string) (Lineage, error) {
	if _, err := parseID(id); err != nil {
		return Lineage{}, err
	}
	m, err := s.quarantinedManifest(id)
	if err != nil {
		return Lineage{}, err
	}
	root, err := s.openDir(path.Join(quarantineDir, id))
	if err != nil {
		return Lineage{}, err
	}
	defer root.Close()
	_, err = verifyFiles(ctx, root, m, Full, reading{})
	return m.Lineage, err
}

func (s *Store) release(l Lineage, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if err := s.makeLineage(l); err != nil {
		return err
	}
	if err := s.root.Rename(path.Join(quarantineDir, id), path.Join(l.path(), id)); err != nil {
		return fmt.Errorf("move checkpoint: %w", err)
	}
	if err := errors.Join(syncPath(s.root, l.path()), syncPath(s.root, quarantineDir)); err != nil {
		return err
	}
	if err := s.root.Remove(path.Join(quarantineDir, id+reasonExt)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove reason: %w", err)
	}
	return nil
}
