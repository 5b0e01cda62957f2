package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxDepth bounds the nesting of a copied tree; each level holds two open
// directories.
const maxDepth = 256

// copyTree copies the contents of the directory src into the existing directory
// dst: files with their holes, hard links, extended attributes, owners, modes
// and times; directories; symbolic links; FIFOs; and devices, which in an
// overlay's upper directory are whiteouts. Sockets are left out: nobody listens
// on them after a restore.
//
// Every step is relative to an open directory and follows no link, because the
// trees belong to tenants and one of them, /dev/shm, may be changed by another
// container at the same time. Nothing is synced: the copy is made while the
// workload stands still, and the store syncs it afterwards. ctx ends the copy
// between two pieces. It fails when the data are more than limit bytes.
//
// With keep, files that dst has already are left as they are, and have to be the
// same as in src; without it they are an error. Directories may be there.
// What was made is returned, with a directory before its entries, also with an
// error.
func copyTree(ctx context.Context, dst, src string, limit int64, keep bool) (made []string, err error) {
	from, err := openDir(unix.AT_FDCWD, src)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", src, err)
	}
	defer unix.Close(from)
	to, err := openDir(unix.AT_FDCWD, dst)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dst, err)
	}
	defer unix.Close(to)
	t := &treeCopy{ctx: ctx, root: to, links: map[inode]string{}, left: limit, keep: keep}
	if err := t.directory(to, from, "."); err != nil {
		return t.made, fmt.Errorf("copy tree %s: %w", src, err)
	}
	return t.made, nil
}

var (
	errTooLarge = errors.New("the changed files are larger than the space that is left for them")
	errDiffers  = errors.New("another container of the pod has a different file of that name")
)

type inode struct{ dev, ino uint64 }

type treeCopy struct {
	ctx  context.Context
	root int
	// links remembers where the first name of a file with several was put.
	links map[inode]string
	// left is how many bytes may still be copied.
	left  int64
	made  []string
	keep  bool
	depth int
}

// directory copies the entries of one open directory into another, then its
// attributes: writing the entries would change its times again.
func (t *treeCopy) directory(to, from int, path string) error {
	if t.depth++; t.depth > maxDepth {
		return fmt.Errorf("%s: nested deeper than %d directories", path, maxDepth)
	}
	defer func() { t.depth-- }()
	names, err := readNames(from)
	if err != nil {
		return fmt.Errorf("list %s: %w", path, err)
	}
	for _, name := range names {
		if err := t.ctx.Err(); err != nil {
			return context.Cause(t.ctx)
		}
		if err := t.entry(to, from, name, filepath.Join(path, name)); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(path, name), err)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return fmt.Errorf("stat %s: %w", path, err)
	}
	return copyAttributes(to, ".", from, ".", &st)
}

func (t *treeCopy) entry(to, from int, name, path string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFSOCK {
		return nil
	}
	if kind == unix.S_IFDIR {
		return t.subdirectory(to, from, name, path)
	}
	if t.keep && exists(to, name) {
		return same(to, from, name, &st)
	}
	if st.Nlink > 1 {
		key := inode{st.Dev, st.Ino}
		if first, seen := t.links[key]; seen {
			t.made = append(t.made, path)
			return t.link(first, to, name)
		}
		t.links[key] = path
	}
	t.made = append(t.made, path)
	var err error
	switch kind {
	case unix.S_IFREG:
		err = t.file(to, from, name, &st)
	case unix.S_IFLNK:
		err = copySymlink(to, from, name)
	case unix.S_IFIFO, unix.S_IFCHR, unix.S_IFBLK:
		err = unix.Mknodat(to, name, st.Mode, int(st.Rdev))
	default:
		return fmt.Errorf("file of unknown type %o", kind)
	}
	if err != nil {
		return err
	}
	return copyAttributes(to, name, from, name, &st)
}

func (t *treeCopy) subdirectory(to, from int, name, path string) error {
	err := unix.Mkdirat(to, name, 0o700)
	switch {
	case err == nil:
		t.made = append(t.made, path)
	case !errors.Is(err, unix.EEXIST):
		return err
	}
	subTo, err := openDir(to, name)
	if err != nil {
		return err
	}
	defer unix.Close(subTo)
	subFrom, err := openDir(from, name)
	if err != nil {
		return err
	}
	defer unix.Close(subFrom)
	return t.directory(subTo, subFrom, path)
}

// link gives a file that was copied before another name. The way to its first
// name is walked without following links.
func (t *treeCopy) link(first string, to int, name string) error {
	dir, err := unix.Openat2(t.root, filepath.Dir(first), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return unix.Linkat(dir, filepath.Base(first), to, name, 0)
}

func exists(dir int, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

func openDir(at int, name string) (int, error) {
	return unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func readNames(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	return f.Readdirnames(-1)
}

func copySymlink(to, from int, name string) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(from, name, buf)
	if err != nil {
		return err
	}
	return unix.Symlinkat(string(buf[:n]), to, name)
}

// file copies the data of a regular file and leaves its holes out.
func (t *treeCopy) file(to, from int, name string, st *unix.Stat_t) error {
	src, err := openFile(from, name)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	dst, err := unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(dst)
	if err := unix.Ftruncate(dst, st.Size); err != nil {
		return err
	}
	for pos := int64(0); pos < st.Size; {
		data, err := unix.Seek(src, pos, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return err
		}
		hole, err := unix.Seek(src, data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if err := t.span(dst, src, data, min(hole, st.Size)); err != nil {
			return err
		}
		pos = hole
	}
	return nil
}

// piece is how much is copied between two looks at the context.
const piece = 32 << 20

// span copies the bytes from pos to end, in the kernel where the file systems
// allow it.
func (t *treeCopy) span(dst, src int, pos, end int64) error {
	if t.left -= end - pos; t.left < 0 {
		return errTooLarge
	}
	for pos < end {
		if t.ctx.Err() != nil {
			return context.Cause(t.ctx)
		}
		n, err := copyPiece(dst, src, pos, int(min(end-pos, piece)))
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("file became shorter while it was copied")
		}
		pos += int64(n)
	}
	return nil
}

func copyPiece(dst, src int, pos int64, length int) (int, error) {
	in, out := pos, pos
	n, err := unix.CopyFileRange(src, &in, dst, &out, length, 0)
	if !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
		return n, err
	}
	buf := make([]byte, min(length, 1<<20))
	if n, err = unix.Pread(src, buf, pos); err != nil {
		return 0, err
	}
	return unix.Pwrite(dst, buf[:n], pos)
}

// copyAttributes sets owner, mode, extended attributes and times, in the order
// in which the one does not undo the other. It goes by an open descriptor of the
// entry itself: in a /dev/shm that another container uses, what was made a
// moment ago may be a link by now.
func copyAttributes(to int, dst string, from int, src string, st *unix.Stat_t) error {
	entry, err := unix.Openat(to, dst, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(entry)
	if err := unix.Fchownat(entry, "", int(st.Uid), int(st.Gid), unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	path := fmt.Sprintf("/proc/self/fd/%d", entry)
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(path, st.Mode&0o7777); err != nil {
			return fmt.Errorf("set mode: %w", err)
		}
	}
	if err := copyXattrs(path, fmt.Sprintf("/proc/self/fd/%d/%s", from, src)); err != nil {
		return err
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(entry, "", times, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// copyXattrs reads the attributes of src without following a link, and sets
// them on the inode that dst, the path of an open descriptor, stands for.
func copyXattrs(dst, src string) error {
	size, err := unix.Llistxattr(src, nil)
	if errors.Is(err, unix.ENOTSUP) || size == 0 && err == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	list := make([]byte, size)
	if size, err = unix.Llistxattr(src, list); err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list[:size]), "\x00"), "\x00") {
		if name == "" || overlayNote(name) {
			continue
		}
		if err := copyXattr(dst, src, name); err != nil {
			return fmt.Errorf("copy extended attribute %s: %w", name, err)
		}
	}
	return nil
}

// overlayNote tells whether an attribute is one of overlayfs's notes about its
// own inodes, which would be wrong anywhere else. What it writes about content
// (opaque directories, renamed ones, files with data below) is kept: it holds
// on the same layers.
func overlayNote(name string) bool {
	note, ok := strings.CutPrefix(name, "trusted.overlay.")
	return ok && note != "opaque" && note != "redirect" && note != "metacopy"
}

func copyXattr(dst, src, name string) error {
	size, err := unix.Lgetxattr(src, name, nil)
	if err != nil {
		return err
	}
	value := make([]byte, size)
	if size > 0 {
		if size, err = unix.Lgetxattr(src, name, value); err != nil {
			return err
		}
	}
	return unix.Setxattr(dst, name, value[:size], 0)
}
