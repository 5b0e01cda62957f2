package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/store"
)

// overlayOpaque is how overlayfs marks a directory that hides what is below it.
const overlayOpaque = "trusted.overlay.opaque"

// paxXattr begins the names of extended attributes in a tar file.
const paxXattr = "SCHILY.xattr."

// tree writes a tree of the container's files as a tar file in the archive. Its
// size stands before it, so it is written twice, the first time to nowhere.
func (w *writer) tree(name, dir string, files []store.File) error {
	if find(files, dir) == nil {
		return nil
	}
	var size counter
	if err := w.layer(&size, dir, files); err != nil {
		return err
	}
	r, pipe := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := w.layer(pipe, dir, files)
		_ = pipe.CloseWithError(err)
		done <- err
	}()
	err := w.file(name, int64(size), r)
	_ = r.CloseWithError(errors.New("not read to its end"))
	if layerErr := <-done; err == nil {
		err = layerErr
	}
	return err
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// layer writes the tree as OCI layers are written.
func (w *writer) layer(out io.Writer, dir string, files []store.File) error {
	t := tar.NewWriter(out)
	for _, f := range files {
		name, inside := strings.CutPrefix(f.Path, dir+"/")
		if f.Path != dir && !inside {
			continue
		}
		if f.Path == dir {
			name = "."
		}
		if err := w.layerEntry(t, dir, name, f); err != nil {
			return fmt.Errorf("write %q: %w", f.Path, err)
		}
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("end layer: %w", err)
	}
	return nil
}

func (w *writer) layerEntry(t *tar.Writer, dir, name string, f store.File) error {
	info, err := w.root.Lstat(f.Path)
	if err != nil {
		return err
	}
	head := &tar.Header{
		Name: name, Mode: int64(f.Mode), Uid: int(f.UID), Gid: int(f.GID), ModTime: info.ModTime().Truncate(1e9), Format: tar.FormatPAX,
	}
	switch f.Type {
	case store.TypeDir:
		head.Typeflag, head.Name = tar.TypeDir, name+"/"
	case store.TypeFile:
		head.Typeflag, head.Size = tar.TypeReg, f.Size
	case store.TypeSymlink:
		head.Typeflag, head.Linkname, head.Mode = tar.TypeSymlink, f.Link, 0o777
	case store.TypeHardlink:
		head.Typeflag, head.Linkname = tar.TypeLink, strings.TrimPrefix(f.Link, dir+"/")
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			head.Mode, head.Uid, head.Gid = int64(st.Mode&0o7777), int(st.Uid), int(st.Gid)
		}
	case store.TypeFIFO:
		head.Typeflag = tar.TypeFifo
	case store.TypeWhiteout:
		parent, base := path.Split(name)
		head.Typeflag, head.Name, head.Mode = tar.TypeReg, parent+whiteout+base, 0o600
	default:
		// A socket is nothing without its process, which makes it again.
		return nil
	}
	hidden := false
	if f.Xattrs != "" {
		if head.PAXRecords, hidden, err = w.xattrs(f.Path); err != nil {
			return err
		}
	}
	if err := t.WriteHeader(head); err != nil {
		return err
	}
	if hidden && f.Type == store.TypeDir {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Join(name, opaque), Mode: 0o600, ModTime: head.ModTime}); err != nil {
			return err
		}
	}
	if f.Type != store.TypeFile {
		return nil
	}
	return contentOf(w.ctx, w.root, f, func(r io.Reader) error {
		_, err := io.Copy(t, r)
		return err
	})
}

// xattrs reads the extended attributes that a layer may have, and whether the
// directory is opaque, which a layer says otherwise.
func (w *writer) xattrs(name string) (records map[string]string, hidden bool, err error) {
	place := filepath.Join(w.root.Name(), name)
	list, err := listXattrs(place)
	if err != nil {
		return nil, false, err
	}
	records = map[string]string{}
	for _, attr := range list {
		if attr == overlayOpaque {
			hidden = true
			continue
		}
		if !layerXattr(attr) {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(place, attr, value)
		if err != nil {
			return nil, false, &os.PathError{Op: "getxattr", Path: name, Err: err}
		}
		records[paxXattr+attr] = string(value[:n])
	}
	return records, hidden, nil
}

func listXattrs(place string) ([]string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(place, buf)
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: place, Err: err}
	}
	return strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 }), nil
}

// layerXattr tells which extended attributes a layer has. Those of overlayfs
// would lead it to other files.
func layerXattr(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "system.posix_acl_") || name == "security.capability"
}
