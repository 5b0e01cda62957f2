package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/rekindle-dev/rekindle/fail"
)

// Staging is a checkpoint in the making: a private, empty directory for a dump
// to fill, which nobody sees until [Staging.Commit]. It ends with Commit or
// [Staging.Abort].
type Staging struct {
	store   *Store
	lineage Lineage
	id      string
	need    int64
	state   stagingState
}

type stagingState string

const (
	stagingOpen      stagingState = "open"
	stagingCommitted stagingState = "committed"
	stagingAborted   stagingState = "aborted"
)

// Begin sets aside need bytes, an estimate of the size of the dump, and makes a
// staging directory. It returns [ErrNoSpace], with figures in the hint, if
// afterwards less than the minimum would be free.
func (s *Store) Begin(ctx context.Context, l Lineage, need int64) (*Staging, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := l.Validate(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, &Error{Op: "begin", Err: ErrClosed}
	}
	if err := fail.Begin.Hit(); err != nil {
		return nil, &Error{Op: "begin", Err: err}
	}
	id, err := nextID(s.last, s.now())
	if err != nil {
		return nil, err
	}
	need = max(need, 0)
	if err := s.reserve(need); err != nil {
		return nil, err
	}
	st := &Staging{store: s, lineage: l, id: id.String(), need: need, state: stagingOpen}
	if err := s.root.Mkdir(st.rel(), dirMode); err != nil {
		s.reserved -= need
		s.stagings--
		return nil, fmt.Errorf("make staging directory: %w", err)
	}
	s.last = id
	return st, nil
}

// ID returns the id that the checkpoint will have.
func (st *Staging) ID() string { return st.id }

// Lineage returns the lineage that the checkpoint will have.
func (st *Staging) Lineage() Lineage { return st.lineage }

// Dir returns the absolute path of the directory to fill.
func (st *Staging) Dir() string { return filepath.Join(st.store.path, stagingDir, st.id) }

func (st *Staging) rel() string { return path.Join(stagingDir, st.id) }

// Abort removes the staging directory and returns the space set aside. After
// Commit or Abort it does nothing.
func (st *Staging) Abort() error {
	if st.state != stagingOpen {
		return nil // no-op
	}
	st.end(stagingAborted)
	if err := st.store.root.RemoveAll(st.rel()); err != nil {
		return &Error{Op: "abort", ID: st.id, Err: err, Hint: "it is swept when the store is opened again"}
	}
	return nil
}

func (st *Staging) end(state stagingState) {
	st.state = state
	st.store.mu.Lock()
	defer st.store.mu.Unlock()
	st.store.reserved -= st.need
	st.store.stagings--
}

// openDir opens a directory of the store by its path, which must not be a link.
func (s *Store) openDir(rel string) (*os.Root, error) {
	info, err := s.root.Lstat(rel)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("examine directory: %w", err)
	}
	root, err := s.root.OpenRoot(rel)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	return root, nil
}
