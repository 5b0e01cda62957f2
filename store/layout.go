package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// Names at the top of a store.
const (
	formatFile     = "FORMAT"
	lockFile       = "lock"
	checkpointsDir = "checkpoints"
	stagingDir     = "staging"
	trashDir       = "trash"
	quarantineDir  = "quarantine"
	marksDir       = "marks"
)

// ManifestName is the file that commits a checkpoint.
const ManifestName = "manifest.json"

// ContentName is the file that has all of an encrypted checkpoint. Beside it there
// are only files that have nothing of the container, such as the log of the dump.
const ContentName = "content.enc"

// Directories of a checkpoint that callers fill. Rootfs and Shm are trees of
// the container's own files, whose modes and owners are kept; what lies beside
// them is made private to the store's owner.
const (
	CRIUDir   = "criu"
	RootfsDir = "rootfs"
	ShmDir    = "shm"
)

const (
	dirMode  fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600
	tempExt              = ".tmp"
)

// path returns the lineage's directory. The lineage must be valid.
func (l Lineage) path() string {
	return path.Join(checkpointsDir, l.Namespace, l.Workload, l.Container)
}

// subdirs lists the real directories directly in rel whose name passes ok;
// none when rel does not exist.
func (s *Store) subdirs(rel string, ok func(string) bool) ([]string, error) {
	d, err := s.root.Open(rel)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("list directory: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && ok(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// lineages calls fn for every lineage that has a directory.
func (s *Store) lineages(fn func(Lineage) error) error {
	namespaces, err := s.subdirs(checkpointsDir, validName)
	if err != nil {
		return err
	}
	for _, ns := range namespaces {
		workloads, err := s.subdirs(path.Join(checkpointsDir, ns), validName)
		if err != nil {
			return err
		}
		for _, w := range workloads {
			containers, err := s.subdirs(path.Join(checkpointsDir, ns, w), validName)
			if err != nil {
				return err
			}
			for _, c := range containers {
				if err := fn(Lineage{ns, w, c}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// locate finds the lineage that holds a checkpoint's directory.
func (s *Store) locate(id string) (Lineage, error) {
	var found Lineage
	err := s.lineages(func(l Lineage) error {
		info, err := s.root.Lstat(path.Join(l.path(), id))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return fmt.Errorf("find checkpoint: %w", err)
		case info.IsDir():
			found = l
		}
		return nil
	})
	if err != nil {
		return Lineage{}, err
	}
	if found.IsZero() {
		return Lineage{}, ErrNotFound
	}
	return found, nil
}

// writeFile makes or replaces a small file so that after a crash it has either
// its old or its new content.
func (s *Store) writeFile(name string, data []byte) error { return replaceFile(s.root, name, data) }

func replaceFile(root *os.Root, name string, data []byte) error {
	temp := name + tempExt
	if err := root.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove leftover: %w", err)
	}
	if err := writeNew(root, temp, data); err != nil {
		return err
	}
	if err := root.Rename(temp, name); err != nil {
		return fmt.Errorf("rename into place: %w", err)
	}
	return syncPath(root, path.Dir(name))
}

// writeNew makes a file that does not exist yet and syncs it.
func writeNew(root *os.Root, name string, data []byte) (err error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close file: %w", cerr)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync file: %w", err)
	}
	return nil
}
