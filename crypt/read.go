package crypt

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	dirMode  fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600
)

// errForm is about content that was decrypted, and that Write does not write.
var errForm = errors.New("is not of the form that is written")

// Read decrypts to an empty directory what Write has encrypted. What is below the
// names at its top that skip holds is authenticated and passed over. When it
// returns nil, all of it was authentic; after an error the directory holds a part.
func Read(ctx context.Context, r io.Reader, dir string, dataKey []byte, checkpoint string, skip ...string) error {
	dec, err := decrypting(&bounded{ctx, r}, dataKey, checkpoint)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("decrypt content: %w", err)
	}
	defer root.Close()
	ahead := readAhead(dec)
	defer ahead.stop()
	u := &unpacker{root: root, buf: make([]byte, 1<<20), skip: skip}
	if err := u.all(tar.NewReader(ahead)); err != nil {
		return err
	}
	// The tar ends before the stream does, whose end is authentic too.
	if _, err := io.Copy(io.Discard, ahead); err != nil {
		return err
	}
	return u.stampLate()
}

// unpacker makes a tree of a tar.
type unpacker struct {
	root *os.Root
	buf  []byte
	skip []string
	// late are directories, and files with holes: they get what they had when all is
	// in them.
	late []*tar.Header
}

func (u *unpacker) all(t *tar.Reader) error {
	for {
		head, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(head.Name, "/")
		if !filepath.IsLocal(name) || path.Clean(name) != name {
			return fmt.Errorf("decrypt %.200q: %w", head.Name, errForm)
		}
		if top, _, _ := strings.Cut(name, "/"); slices.Contains(u.skip, top) {
			continue
		}
		if err := u.entry(t, head, name); err != nil {
			if errors.Is(err, ErrAltered) {
				return err
			}
			return fmt.Errorf("decrypt %.200q: %w", name, err)
		}
	}
}

func (u *unpacker) entry(t *tar.Reader, head *tar.Header, name string) error {
	if at, isPiece := head.PAXRecords[recordAt]; isPiece {
		return u.piece(t, name, at)
	}
	switch head.Typeflag {
	case tar.TypeDir:
		u.late = append(u.late, head)
		return u.root.Mkdir(name, dirMode)
	case tar.TypeLink:
		return u.root.Link(head.Linkname, name)
	case tar.TypeReg:
		if err := u.file(t, head, name); err != nil {
			return err
		}
		if _, holes := head.PAXRecords[recordSize]; holes {
			u.late = append(u.late, head)
			return nil
		}
	case tar.TypeSymlink:
		if err := u.root.Symlink(head.Linkname, name); err != nil {
			return err
		}
	case tar.TypeFifo, tar.TypeChar:
		if err := u.node(head, name); err != nil {
			return err
		}
	default:
		return errForm
	}
	return u.stamp(head, name)
}

// file makes a regular file with its data, or with a hole of its size if they
// follow.
func (u *unpacker) file(t *tar.Reader, head *tar.Header, name string) error {
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	if text, holes := head.PAXRecords[recordSize]; holes {
		var size int64
		if size, err = strconv.ParseInt(text, 10, 64); err == nil {
			err = f.Truncate(size)
		}
	} else {
		_, err = io.CopyBuffer(struct{ io.Writer }{f}, t, u.buf)
	}
	return errors.Join(err, f.Close())
}

// piece writes some of the data of a file with holes.
func (u *unpacker) piece(t *tar.Reader, name, at string) error {
	pos, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if _, err = f.Seek(pos, io.SeekStart); err == nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{f}, t, u.buf)
	}
	return errors.Join(err, f.Close())
}

// node makes a pipe or a whiteout.
func (u *unpacker) node(head *tar.Header, name string) error {
	parent, base, err := u.parent(name)
	if err != nil {
		return err
	}
	defer parent.Close()
	mode := uint32(unix.S_IFIFO)
	if head.Typeflag == tar.TypeChar {
		if head.Devmajor != 0 || head.Devminor != 0 {
			return errForm
		}
		mode = unix.S_IFCHR
	}
	return unix.Mknodat(int(parent.Fd()), base, mode|uint32(fileMode), 0)
}

func (u *unpacker) parent(name string) (*os.File, string, error) {
	dir, base := path.Split(name)
	f, err := u.root.Open(path.Clean(dir + "."))
	return f, base, err
}

// stampLate gives what comes late what it had, the deepest directories first.
func (u *unpacker) stampLate() error {
	for _, head := range slices.Backward(u.late) {
		name := strings.TrimSuffix(head.Name, "/")
		if err := u.stamp(head, name); err != nil {
			return fmt.Errorf("decrypt %.200q: %w", name, err)
		}
	}
	return nil
}

// stamp sets owner, mode, extended attributes and time, in the order in which the
// one does not undo the other.
func (u *unpacker) stamp(head *tar.Header, name string) error {
	parent, base, err := u.parent(name)
	if err != nil {
		return err
	}
	defer parent.Close()
	dir := int(parent.Fd())
	if err := unix.Fchownat(dir, base, head.Uid, head.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	place := fmt.Sprintf("/proc/self/fd/%d/%s", dir, base)
	if head.Typeflag != tar.TypeSymlink {
		if err := unix.Fchmodat(dir, base, uint32(head.Mode&0o7777), 0); err != nil {
			return fmt.Errorf("set mode: %w", err)
		}
	}
	for record, value := range head.PAXRecords {
		attr, isXattr := strings.CutPrefix(record, recordXattr)
		if !isXattr {
			continue
		}
		if err := unix.Lsetxattr(place, attr, []byte(value), 0); err != nil {
			return fmt.Errorf("set extended attribute %s: %w", attr, err)
		}
	}
	at := unix.NsecToTimespec(head.ModTime.UnixNano())
	if err := unix.UtimesNanoAt(dir, base, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}
