package criu

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of what is filled here: packed and unpacked bytes, and entries. /dev of a
// container has 400 bytes and 16 entries.
const (
	mostPacked  = 4 << 10
	mostContent = 64 << 10
	mostEntries = 64
)

// errNotPlain is returned for a file system in memory that is left to CRIU and tar.
var errNotPlain = errors.New("not a plain file system in memory")

// entry is one of a file system in memory.
type entry struct {
	tar.Header
	content []byte
}

// contents reads the image of a file system in memory that has directories,
// symbolic links, devices and regular files in it, and little of them. The first
// entry is the root.
func contents(image string) ([]entry, error) {
	f, err := os.Open(image)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > mostPacked {
		return nil, errors.Join(errNotPlain, err)
	}
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotPlain, err)
	}
	archive := tar.NewReader(io.LimitReader(unpacked, mostContent))
	var entries []entry
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) && len(entries) > 0 {
			return entries, nil
		}
		if err != nil || len(entries) >= mostEntries || !plain(header, len(entries) == 0) {
			return nil, errors.Join(errNotPlain, err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNotPlain, err)
		}
		entries = append(entries, entry{*header, content})
	}
}

// plain tells whether an entry is of a kind that fill makes. The names are the
// workload's.
func plain(h *tar.Header, root bool) bool {
	if root != (h.Name == "./") || len(h.PAXRecords) > 0 {
		return false
	}
	name := path.Clean(h.Name)
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeSymlink, tar.TypeReg:
		return strings.HasPrefix(h.Name, "./")
	case tar.TypeChar, tar.TypeBlock:
		return strings.HasPrefix(h.Name, "./") && !strings.Contains(name, "/")
	}
	return false
}

// asMade tells whether a file system in memory is as a mount of a new one would be.
func asMade(entries []entry) bool {
	const newRoot = 0o1777
	root := entries[0]
	return len(entries) == 1 && root.Typeflag == tar.TypeDir && root.Mode == newRoot && root.Uid == 0 && root.Gid == 0
}

// fill makes the entries below a directory, the root of a new file system, as tar
// would. No name leads out of it.
func fill(dir string, entries []entry) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	top, err := root.Open(".")
	if err != nil {
		return err
	}
	defer top.Close()
	for _, e := range entries {
		if err := e.create(root, int(top.Fd())); err != nil {
			return fmt.Errorf("make %s: %w", e.Name, err)
		}
	}
	// Times last: whatever is made in a directory changes its own.
	for _, e := range entries {
		if e.Typeflag == tar.TypeDir {
			if err := root.Chtimes(path.Clean(e.Name), e.ModTime, e.ModTime); err != nil {
				return fmt.Errorf("date %s: %w", e.Name, err)
			}
		}
	}
	return nil
}

func (e entry) create(root *os.Root, top int) error {
	name := path.Clean(e.Name)
	var err error
	switch e.Typeflag {
	case tar.TypeDir:
		if name != "." {
			err = root.Mkdir(name, 0o700)
		}
	case tar.TypeSymlink:
		if err = root.Symlink(e.Linkname, name); err == nil {
			err = root.Lchown(name, e.Uid, e.Gid)
		}
		return err
	case tar.TypeReg:
		err = root.WriteFile(name, e.content, 0o600)
	case tar.TypeChar:
		err = unix.Mknodat(top, name, unix.S_IFCHR|0o600, int(unix.Mkdev(uint32(e.Devmajor), uint32(e.Devminor))))
	case tar.TypeBlock:
		err = unix.Mknodat(top, name, unix.S_IFBLK|0o600, int(unix.Mkdev(uint32(e.Devmajor), uint32(e.Devminor))))
	}
	if err == nil {
		err = root.Lchown(name, e.Uid, e.Gid)
	}
	if err == nil {
		err = root.Chmod(name, e.FileInfo().Mode()&(os.ModePerm|os.ModeSetuid|os.ModeSetgid|os.ModeSticky))
	}
	if err == nil && e.Typeflag != tar.TypeDir {
		err = root.Chtimes(name, time.Time{}, e.ModTime)
	}
	return err
}
