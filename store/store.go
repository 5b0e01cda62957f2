package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
)

// formatV1 is the content of the FORMAT file of this layout.
const formatV1 = "1\n"

// Store is an open store. See the package documentation for what it promises.
type Store struct {
	root *os.Root
	lock *os.File
	path string

	now     func() time.Time
	report  func(path string, err error)
	minFree atomic.Int64

	keysPath string
	keyring  *keyring

	mu       sync.Mutex // guards what follows and every change of the tree
	closed   bool
	last     ulid.ULID // the newest id given out or found
	reserved int64     // bytes that open stagings have asked for
	stagings int       // how many are open
	leases   map[string]int
	// alsoInUse is asked beside leases; nil when nobody is.
	alsoInUse func(id string) bool

	proofsMu sync.Mutex // taken last
	proofs   map[string]proof

	marksMu sync.Mutex // guards marks/; never taken before mu is released

	logs oplog
}

// Option changes how a store is opened.
type Option func(*Store)

// WithReport has fn called for everything found in the store that is not what
// it should be and is therefore passed over: a checkpoint without a sound
// manifest, a leftover that cannot be removed. fn is called from the goroutine
// that found it and must be safe for concurrent use. path is relative to the
// store.
func WithReport(fn func(path string, err error)) Option {
	return func(s *Store) { s.report = fn }
}

// WithMinFree sets how many bytes [Store.Begin] leaves free; the default is 0.
func WithMinFree(bytes int64) Option {
	return func(s *Store) { s.minFree.Store(bytes) }
}

// WithKeys keeps the keys in another directory than [KeysDir] of the store, so
// that whoever can write to the disk of the one cannot read those of the other.
// It is an absolute path; empty means the default.
func WithKeys(dir string) Option {
	return func(s *Store) { s.keysPath = dir }
}

// WithClock replaces the wall clock, which gives ids and manifests their time.
// Order never depends on it.
func WithClock(now func() time.Time) Option {
	return func(s *Store) { s.now = now }
}

// Open opens the store at dir, an absolute path, and makes it if there is none.
// It takes the store for this process ([ErrLocked] if another has it), refuses
// a directory of another format or owner ([ErrFormat], [ErrUnsafe]), and sweeps
// what an earlier process left behind unfinished.
func Open(dir string, opts ...Option) (_ *Store, err error) {
	s := &Store{path: filepath.Clean(dir), now: time.Now, report: func(string, error) {}, leases: map[string]int{}, proofs: map[string]proof{}}
	for _, opt := range opts {
		opt(s)
	}
	if s.root, err = openRoot(s.path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.lock, err = lock(s.root, s.path); err != nil {
		return nil, err
	}
	if err = s.checkFormat(); err != nil {
		return nil, err
	}
	for _, d := range []string{checkpointsDir, stagingDir, trashDir, quarantineDir, marksDir, logsDir} {
		if err = s.root.Mkdir(d, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make store: %w", err)
		}
	}
	if err = s.openKeys(); err != nil {
		return nil, err
	}
	if err = s.recover(); err != nil {
		return nil, fmt.Errorf("recover store: %w", err)
	}
	return s, nil
}

// checkFormat reads FORMAT, or writes it into a directory that is empty.
func (s *Store) checkFormat() error {
	data, err := s.root.ReadFile(formatFile)
	switch {
	case err == nil && string(data) == formatV1:
		return nil
	case err == nil:
		return &Error{
			Op: "open store", Path: filepath.Join(s.path, formatFile),
			Err: fmt.Errorf("%w %.20q", ErrFormat, data), Hint: "it was made by another version of Rekindle",
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read store format: %w", err)
	}
	if err := s.checkEmpty(); err != nil {
		return err
	}
	if err := s.writeFile(formatFile, []byte(formatV1)); err != nil {
		return fmt.Errorf("write store format: %w", err)
	}
	return nil
}

// checkEmpty keeps the store from moving into a directory that has another use.
func (s *Store) checkEmpty() error {
	d, err := s.root.Open(".")
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list store: %w", err)
	}
	for _, n := range names {
		switch n {
		case lockFile, formatFile + tempExt, "lost+found":
		default:
			return &Error{
				Op: "open store", Path: s.path, Err: ErrFormat,
				Hint: fmt.Sprintf("the directory has no FORMAT file but contains %.80q; give an empty directory", n),
			}
		}
	}
	return nil
}

// Path returns the absolute path of the store.
func (s *Store) Path() string { return s.path }

// SetMinFree changes what [WithMinFree] set, for later calls of [Store.Begin].
func (s *Store) SetMinFree(bytes int64) { s.minFree.Store(bytes) }

// Close lets another process open the store. Stagings still open are lost.
// Closing again does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil // no-op
	}
	s.closed = true
	err := s.root.Close()
	if s.keyring != nil {
		err = errors.Join(err, s.keyring.root.Close())
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	if err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}
