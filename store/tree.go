package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// maxFiles bounds a scan. A manifest of MaxManifest cannot list as many.
const maxFiles = 200_000

// entry is a file found on disk: what the manifest says of it, but for the
// digest of its content, and what identifies it while it is looked at.
type entry struct {
	File

	dev, ino, links uint64
	changed         int64 // the time of the last change, in nanoseconds
	taken           int64 // the bytes that it takes on the disk, shared ones included
}

// scanner walks one checkpoint by directory descriptors. It follows no link and
// resolves no path of more than one component.
type scanner struct {
	ctx     context.Context
	entries []entry
	dev     uint64
}

// scan lists everything in the directory of a checkpoint but its manifest,
// sorted by path. It returns [ErrUnsafe] for what a checkpoint cannot contain.
func scan(ctx context.Context, root *os.Root) ([]entry, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	defer dir.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return nil, fmt.Errorf("examine directory: %w", err)
	}
	s := &scanner{ctx: ctx, dev: st.Dev}
	if err := s.walk(dir, "", 0); err != nil {
		return nil, err
	}
	slices.SortFunc(s.entries, func(a, b entry) int { return cmp.Compare(a.Path, b.Path) })
	if err := resolveHardlinks(s.entries); err != nil {
		return nil, err
	}
	return s.entries, nil
}

func (s *scanner) walk(dir *os.File, prefix string, depth int) error {
	if depth >= maxDepth {
		return &Error{Op: "scan", Path: prefix, Err: ErrUnsafe, Hint: "directories are nested too deep"}
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list directory %q: %w", escape(prefix), err)
	}
	for _, name := range names {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		p := path.Join(prefix, name)
		if p == ManifestName {
			continue
		}
		e, err := s.look(int(dir.Fd()), name, p)
		if err != nil {
			return err
		}
		if len(s.entries) >= maxFiles {
			return &Error{Op: "scan", Err: ErrUnsafe, Hint: fmt.Sprintf("there are more than %d files", maxFiles)}
		}
		s.entries = append(s.entries, e)
		if e.Type != TypeDir {
			continue
		}
		if err := s.descend(int(dir.Fd()), name, p, depth); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) descend(parent int, name, p string, depth int) error {
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", escape(p), err)
	}
	sub := os.NewFile(uintptr(fd), p)
	defer sub.Close()
	return s.walk(sub, p, depth+1)
}

// look examines one directory entry without opening it.
func (s *scanner) look(dir int, name, p string) (entry, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return entry{}, fmt.Errorf("examine %s: %w", escape(p), err)
	}
	e := entry{dev: st.Dev, ino: st.Ino, links: uint64(st.Nlink), changed: st.Ctim.Nano(), taken: st.Blocks * 512}
	e.File = File{Path: p, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid}
	unsafe := &Error{Op: "scan", Path: p, Err: ErrUnsafe}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Type, e.Size = TypeFile, st.Size
	case unix.S_IFDIR:
		e.Type = TypeDir
		if st.Dev != s.dev {
			unsafe.Hint = "something is mounted there"
			return entry{}, unsafe
		}
	case unix.S_IFLNK:
		e.Type, e.Mode = TypeSymlink, 0
	case unix.S_IFIFO:
		e.Type = TypeFIFO
	case unix.S_IFSOCK:
		e.Type = TypeSocket
	case unix.S_IFCHR:
		if st.Rdev == 0 {
			e.Type = TypeWhiteout
		}
	}
	if !allowedAt(e.Type, p) || !validPath(p) || reserved(p) {
		unsafe.Hint = fmt.Sprintf("a file of mode %#o cannot be there", st.Mode)
		return entry{}, unsafe
	}
	return e, e.details(dir, name)
}

// details adds what needs more than a stat.
func (e *entry) details(dir int, name string) error {
	if e.Type == TypeSymlink {
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dir, name, buf)
		if err != nil {
			return fmt.Errorf("read link %s: %w", escape(e.Path), err)
		}
		e.Link = string(buf[:n])
	}
	if !inTree(e.Path) {
		return nil
	}
	var err error
	if e.Xattrs, err = digestXattrs(fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)); err != nil {
		return fmt.Errorf("%s: %w", escape(e.Path), err)
	}
	return nil
}

// errOutsideLink is about a file that also has a name elsewhere, through which
// it could change after it was digested.
var errOutsideLink = errors.New("has a hard link outside its tree")

// resolveHardlinks turns all but the first name of a file into TypeHardlink.
func resolveHardlinks(entries []entry) error {
	type inode struct{ dev, ino uint64 }
	first := map[inode]int{}
	seen := map[inode]uint64{}
	for i := range entries {
		e := &entries[i]
		if e.Type == TypeDir || e.links == 1 {
			continue
		}
		key := inode{e.dev, e.ino}
		seen[key]++
		if _, again := first[key]; !again {
			first[key] = i
			continue
		}
		e.File = File{Path: e.Path, Type: TypeHardlink, Link: entries[first[key]].Path}
	}
	for key, i := range first {
		if e := entries[i]; seen[key] != e.links || !inTree(e.Path) {
			return &Error{Op: "scan", Path: e.Path, Err: fmt.Errorf("%w: %w", ErrUnsafe, errOutsideLink)}
		}
	}
	return nil
}
