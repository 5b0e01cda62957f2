package crypt

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Records of ours in the headers of the tar, beside those for extended attributes
// that all tools know.
const (
	recordXattr = "SCHILY.xattr."
	// recordSize is the size of a file with holes, whose data follow in entries of
	// the same name with recordAt, the place of each.
	recordSize = "REKINDLE.size"
	recordAt   = "REKINDLE.at"
)

// maxXattrs bounds the names of the extended attributes of a file, and each value.
const maxXattrs = 64 << 10

// Write encrypts all that is in a directory to w, and returns how many bytes its
// files have: the memory that they take when they are decrypted. Nobody may change
// the directory meanwhile. Sockets are left out: nobody listens on them after a
// restore.
func Write(ctx context.Context, w io.Writer, dir string, dataKey []byte, checkpoint string) (size int64, err error) {
	enc, err := encrypting(w, dataKey, checkpoint)
	if err != nil {
		return 0, err
	}
	p := &packer{ctx: ctx, tar: tar.NewWriter(enc), dir: dir, links: map[inode]string{}, buf: make([]byte, 1<<20)}
	if err := filepath.WalkDir(dir, p.visit); err != nil {
		return 0, fmt.Errorf("encrypt content: %w", err)
	}
	if err := errors.Join(p.tar.Close(), enc.Close()); err != nil {
		return 0, fmt.Errorf("end encrypted content: %w", err)
	}
	return p.size, nil
}

type inode struct{ dev, ino uint64 }

// packer writes a tree as a tar.
type packer struct {
	ctx context.Context
	tar *tar.Writer
	dir string
	// links has the first name of each file that has several.
	links map[inode]string
	size  int64
	buf   []byte
}

func (p *packer) visit(path string, _ fs.DirEntry, err error) error {
	if err != nil || path == p.dir {
		return err
	}
	if err := p.ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	head := &tar.Header{
		Name: strings.TrimPrefix(path, p.dir+"/"), Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX,
	}
	key := inode{st.Dev, st.Ino}
	first, again := p.links[key]
	switch kind := st.Mode & unix.S_IFMT; {
	case kind == unix.S_IFSOCK:
		return nil
	case kind == unix.S_IFDIR:
		head.Typeflag, head.Name = tar.TypeDir, head.Name+"/"
	case st.Nlink > 1 && again:
		head.Typeflag, head.Linkname = tar.TypeLink, first
		return p.tar.WriteHeader(head)
	case kind == unix.S_IFREG:
		head.Typeflag, head.Size = tar.TypeReg, st.Size
	case kind == unix.S_IFLNK:
		head.Typeflag = tar.TypeSymlink
		if head.Linkname, err = os.Readlink(path); err != nil {
			return err
		}
	case kind == unix.S_IFIFO:
		head.Typeflag = tar.TypeFifo
	case kind == unix.S_IFCHR && st.Rdev == 0:
		head.Typeflag = tar.TypeChar // a whiteout of overlayfs
	default:
		return &os.PathError{Op: "encrypt", Path: path, Err: errors.New("is of a kind that a checkpoint cannot have")}
	}
	if st.Nlink > 1 && head.Typeflag != tar.TypeDir {
		p.links[key] = head.Name
	}
	if head.PAXRecords, err = xattrsOf(path); err != nil {
		return err
	}
	if head.Typeflag != tar.TypeReg {
		return p.tar.WriteHeader(head)
	}
	return p.file(path, head)
}

// file writes a regular file: in one piece, or, if it has holes, its data one by
// one.
func (p *packer) file(path string, head *tar.Header) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size := head.Size
	data, end, err := nextData(f, 0, size)
	if err != nil {
		return err
	}
	if data == 0 && end == size {
		return p.piece(f, head, 0)
	}
	if head.PAXRecords == nil {
		head.PAXRecords = map[string]string{}
	}
	head.PAXRecords[recordSize], head.Size = strconv.FormatInt(size, 10), 0
	if err := p.tar.WriteHeader(head); err != nil {
		return err
	}
	for data < size {
		piece := &tar.Header{
			Typeflag: tar.TypeReg, Name: head.Name, Size: end - data, Mode: head.Mode, Format: tar.FormatPAX,
			PAXRecords: map[string]string{recordAt: strconv.FormatInt(data, 10)},
		}
		if err := p.piece(f, piece, data); err != nil {
			return err
		}
		if data, end, err = nextData(f, end, size); err != nil {
			return err
		}
	}
	return nil
}

// piece writes a header and the bytes of a file that belong to it.
func (p *packer) piece(f *os.File, head *tar.Header, at int64) error {
	if err := p.tar.WriteHeader(head); err != nil {
		return err
	}
	p.size += head.Size
	n, err := io.CopyBuffer(p.tar, struct{ io.Reader }{&bounded{p.ctx, io.NewSectionReader(f, at, head.Size)}}, p.buf)
	if err == nil && n != head.Size {
		err = &os.PathError{Op: "encrypt", Path: f.Name(), Err: errors.New("became shorter meanwhile")}
	}
	return err
}

// nextData returns where the next data in a file begin, from pos on, and where they
// end; both are the size when there are none.
func nextData(f *os.File, pos, size int64) (data, end int64, err error) {
	if data, err = unix.Seek(int(f.Fd()), pos, unix.SEEK_DATA); err == nil {
		end, err = unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
	}
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case err != nil:
		return 0, 0, &os.PathError{Op: "seek", Path: f.Name(), Err: err}
	}
	return min(data, size), min(end, size), nil
}

// xattrsOf reads the extended attributes of a file, nil if it has none.
func xattrsOf(path string) (map[string]string, error) {
	list := make([]byte, maxXattrs)
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.ENOTSUP) || err == nil && n == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: path, Err: err}
	}
	records := map[string]string{}
	value := make([]byte, maxXattrs)
	for name := range strings.SplitSeq(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, &os.PathError{Op: "getxattr", Path: path, Err: err}
		}
		records[recordXattr+name] = string(value[:n])
	}
	return records, nil
}

// bounded reads until its context ends.
type bounded struct {
	ctx context.Context
	r   io.Reader
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.r.Read(p)
}
