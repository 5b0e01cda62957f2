package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// List returns the checkpoints of a lineage, newest first. It reads manifests
// only; whoever uses a checkpoint calls [Store.Verify] first. One without a
// sound manifest is not listed but reported, see [WithReport].
func (s *Store) List(l Lineage) ([]Checkpoint, error) {
	list, broken, err := s.read(l)
	for _, b := range broken {
		s.report(path.Join(l.path(), b.ID), b.Err)
	}
	return list, err
}

// Broken is what stands in the place of a checkpoint and has no sound manifest.
type Broken struct {
	ID string
	// Err is [ErrCorrupt], [ErrSchema] for a manifest of another version, [ErrKey]
	// if its key is not there, or why it cannot be told.
	Err error
}

// Broken returns what [Store.List] passes over in a lineage, newest first.
func (s *Store) Broken(l Lineage) ([]Broken, error) {
	_, broken, err := s.read(l)
	return broken, err
}

// AllBroken goes through what [Store.All] passes over.
func (s *Store) AllBroken() iter.Seq2[Lineage, Broken] {
	return func(yield func(Lineage, Broken) bool) {
		errStop := errors.New("enough")
		_ = s.lineages(func(l Lineage) error {
			broken, err := s.Broken(l)
			for _, b := range broken {
				if !yield(l, b) {
					return errStop
				}
			}
			return err
		})
	}
}

func (s *Store) read(l Lineage) (list []Checkpoint, broken []Broken, err error) {
	if err := l.Validate(); err != nil {
		return nil, nil, err
	}
	ids, err := s.subdirs(l.path(), validID)
	if err != nil {
		return nil, nil, fmt.Errorf("list checkpoints: %w", err)
	}
	for _, id := range ids {
		cp, err := s.load(l, id)
		switch {
		case errors.Is(err, ErrNotFound): // removed since the directory was read
		case err != nil:
			broken = append(broken, Broken{id, err})
		default:
			list = append(list, cp)
		}
	}
	newestFirst(list)
	slices.SortFunc(broken, func(a, b Broken) int { return cmp.Compare(b.ID, a.ID) })
	return list, broken, nil
}

// All returns the checkpoints of all lineages as [Store.List] does, newest
// first.
func (s *Store) All(ctx context.Context) ([]Checkpoint, error) {
	var all []Checkpoint
	err := s.lineages(func(l Lineage) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		list, err := s.List(l)
		all = append(all, list...)
		return err
	})
	if err != nil {
		return nil, err
	}
	newestFirst(all)
	return all, nil
}

// Get returns one checkpoint: [ErrBadID] if id cannot be one, [ErrNotFound] if
// there is none, [ErrCorrupt], [ErrSchema] or [ErrKey] if its manifest cannot be used.
func (s *Store) Get(id string) (Checkpoint, error) {
	if _, err := parseID(id); err != nil {
		return Checkpoint{}, &Error{Op: "get checkpoint", Err: err, Hint: "an id has 26 characters, as rekindle list shows them"}
	}
	l, err := s.locate(id)
	if err != nil {
		return Checkpoint{}, &Error{Op: "get checkpoint", ID: id, Err: err}
	}
	return s.load(l, id)
}

// Find returns the one checkpoint whose id starts with prefix, in upper or
// lower case: [ErrAmbiguous] if there are several.
func (s *Store) Find(prefix string) (Checkpoint, error) {
	prefix, err := checkPrefix(prefix)
	if err != nil {
		return Checkpoint{}, &Error{Op: "find checkpoint", Err: err}
	}
	var found []Lineage
	var id string
	err = s.lineages(func(l Lineage) error {
		ids, err := s.subdirs(l.path(), func(n string) bool { return strings.HasPrefix(n, prefix) && validID(n) })
		for _, id = range ids {
			found = append(found, l)
		}
		return err
	})
	switch {
	case err != nil:
		return Checkpoint{}, err
	case len(found) == 0:
		return Checkpoint{}, &Error{Op: "find checkpoint", ID: prefix, Err: ErrNotFound}
	case len(found) > 1:
		return Checkpoint{}, &Error{Op: "find checkpoint", ID: prefix, Err: ErrAmbiguous, Hint: fmt.Sprintf("%d ids start with it; give more characters", len(found))}
	}
	return s.load(found[0], id)
}

// checkPrefix returns the beginning of an id as ids are written.
func checkPrefix(prefix string) (string, error) {
	prefix = strings.ToUpper(prefix)
	if prefix == "" || len(prefix) > 26 || strings.Trim(prefix, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != "" {
		return "", fmt.Errorf("%.40q: %w", prefix, ErrBadID)
	}
	return prefix, nil
}

// IDs returns the ids that start with prefix, in upper or lower case, of the
// checkpoints that are there, those in quarantine included.
func (s *Store) IDs(prefix string) ([]string, error) {
	prefix, err := checkPrefix(prefix)
	if err != nil {
		return nil, &Error{Op: "find checkpoint", Err: err}
	}
	ok := func(n string) bool { return strings.HasPrefix(n, prefix) && validID(n) }
	ids, err := s.subdirs(quarantineDir, ok)
	if err != nil {
		return nil, fmt.Errorf("list quarantine: %w", err)
	}
	err = s.lineages(func(l Lineage) error {
		more, err := s.subdirs(l.path(), ok)
		ids = append(ids, more...)
		return err
	})
	return ids, err
}

// Whereabouts returns the directory of a checkpoint, which may be in quarantine.
func (s *Store) Whereabouts(id string) (string, error) {
	if _, err := parseID(id); err != nil {
		return "", &Error{Op: "find checkpoint", Err: err}
	}
	if info, err := s.root.Lstat(path.Join(quarantineDir, id)); err == nil && info.IsDir() {
		return filepath.Join(s.path, quarantineDir, id), nil
	}
	l, err := s.locate(id)
	if err != nil {
		return "", &Error{Op: "find checkpoint", ID: id, Err: err}
	}
	return filepath.Join(s.path, l.path(), id), nil
}

func newestFirst(list []Checkpoint) {
	slices.SortFunc(list, func(a, b Checkpoint) int { return cmp.Compare(b.ID, a.ID) })
}

// openCheckpoint opens a checkpoint's directory.
func (s *Store) openCheckpoint(l Lineage, id string) (*os.Root, error) {
	if _, err := parseID(id); err != nil {
		return nil, err
	}
	if err := l.Validate(); err != nil {
		return nil, err
	}
	return s.openDir(path.Join(l.path(), id))
}

// load reads the manifest of a checkpoint and makes sure that it belongs there.
func (s *Store) load(l Lineage, id string) (Checkpoint, error) {
	root, err := s.openCheckpoint(l, id)
	if err != nil {
		return Checkpoint{}, &Error{Op: "read manifest", ID: id, Err: err}
	}
	defer root.Close()
	m, sum, err := readManifest(root)
	if err == nil {
		err = s.keyring.authentic(m)
	}
	if err == nil && (m.ID != id || m.Lineage != l) {
		err = fmt.Errorf("%w: manifest is that of %s/%s", ErrCorrupt, m.Lineage, m.ID)
	}
	if err != nil {
		return Checkpoint{}, &Error{Op: "read manifest", ID: id, Path: ManifestName, Err: err}
	}
	return Checkpoint{Manifest: m, dir: filepath.Join(s.path, l.path(), id), sum: sum}, nil
}

// readManifest also returns the digest of the file.
func readManifest(root *os.Root) (m Manifest, sum string, err error) {
	info, err := root.Lstat(ManifestName)
	if errors.Is(err, fs.ErrNotExist) {
		return m, "", fmt.Errorf("%w: manifest is missing", ErrCorrupt)
	}
	if err != nil {
		return m, "", fmt.Errorf("examine manifest: %w", err)
	}
	if !info.Mode().IsRegular() {
		return m, "", fmt.Errorf("%w: manifest is not a regular file", ErrCorrupt)
	}
	f, err := root.OpenFile(ManifestName, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return m, "", fmt.Errorf("open manifest: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxManifest+1))
	if err != nil {
		return m, "", fmt.Errorf("read manifest: %w", err)
	}
	digest := sha256.Sum256(data)
	m, err = ParseManifest(data)
	return m, hex.EncodeToString(digest[:]), err
}
