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

// layer unpacks a tar file in the archive, a layer or a plain one, into a new
// directory of the checkpoint. Only what this layer itself has made is a
// directory to it: no entry can lead over a link.
func (a *reader) layer(r io.Reader, dir string) error {
	in, end, err := plain(r, a.limits)
	if err != nil {
		return err
	}
	defer end()
	if err := a.root.Mkdir(dir, 0o700); err != nil {
		return err
	}
	sub, err := a.root.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := sub.Chmod(".", 0o755); err != nil {
		return err
	}
	l := &layer{reader: a, root: sub, shm: dir == store.ShmDir, made: map[string]byte{".": tar.TypeDir}}
	return l.all(newEntries(in))
}

// layer is the unpacking of one.
type layer struct {
	*reader
	root *os.Root
	shm  bool
	// made are the entries so far, with their types.
	made map[string]byte
}

func (l *layer) all(t *entries) error {
	for {
		head, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := l.budget.entry(); err != nil {
			return err
		}
		if err := l.entry(t, head); err != nil {
			return fmt.Errorf("%.200q: %w", head.Name, err)
		}
	}
}

func (l *layer) entry(t io.Reader, head *tar.Header) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	if err := plainHeader(head); err != nil {
		return err
	}
	name, err := inTree(head.Name)
	if err != nil {
		return err
	}
	if name == "." {
		if head.Typeflag != tar.TypeDir {
			return refuse("the root is not a directory")
		}
		return l.dress(name, head)
	}
	if err := l.parents(name); err != nil {
		return err
	}
	if base := path.Base(name); strings.HasPrefix(base, whiteout) {
		return l.hide(path.Dir(name), base, head)
	}
	if kind, there := l.made[name]; there && (kind != tar.TypeDir || head.Typeflag != tar.TypeDir) {
		return refuse("it is there twice")
	}
	if err := l.make(t, name, head); err != nil {
		return err
	}
	l.made[name] = head.Typeflag
	return l.dress(name, head)
}

// inTree brings the name of an entry to one form, if it stays in its tree.
func inTree(name string) (string, error) {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	if name == "" {
		name = "."
	}
	if len(name) > maxPath || !filepath.IsLocal(name) || path.Clean(name) != name || strings.ContainsRune(name, 0) {
		return "", refuse("its name leads out of the tree, or is no plain one")
	}
	return name, nil
}

// parents makes the directories above an entry that the layer did not mention,
// as they are in most images.
func (l *layer) parents(name string) error {
	parent := path.Dir(name)
	switch kind, there := l.made[parent]; {
	case there && kind == tar.TypeDir:
		return nil
	case there:
		return refuse("it lies in what is not a directory")
	case strings.HasPrefix(path.Base(parent), whiteout):
		return refuse("it lies in a whiteout")
	}
	if err := l.parents(parent); err != nil {
		return err
	}
	if err := l.budget.entry(); err != nil {
		return err
	}
	l.made[parent] = tar.TypeDir
	return l.root.Mkdir(parent, 0o755)
}

func (l *layer) make(t io.Reader, name string, head *tar.Header) error {
	if l.shm && head.Typeflag != tar.TypeReg && head.Typeflag != tar.TypeDir && head.Typeflag != tar.TypeLink {
		return refuse("only files can be in shared memory")
	}
	switch head.Typeflag {
	case tar.TypeDir:
		if l.made[name] == tar.TypeDir {
			return nil
		}
		return l.root.Mkdir(name, 0o700)
	case tar.TypeReg:
		return l.content(t, name, head.Size)
	case tar.TypeSymlink:
		if head.Linkname == "" || len(head.Linkname) > maxPath || strings.ContainsRune(head.Linkname, 0) {
			return refuse("it is no plain link")
		}
		// It is the container's, like what is in a file; nobody here follows it.
		return l.root.Symlink(head.Linkname, name)
	case tar.TypeLink:
		target, err := inTree(head.Linkname)
		if err != nil {
			return err
		}
		if l.made[target] != tar.TypeReg {
			return refuse("it is a link to what is no file of this layer")
		}
		return l.root.Link(target, name)
	case tar.TypeFifo:
		return l.node(name, unix.S_IFIFO|0o600)
	}
	return refuse("it is neither a file, a directory, a link nor a pipe")
}

func (l *layer) content(r io.Reader, name string, size int64) error {
	if err := l.budget.spend(size); err != nil {
		return err
	}
	f, err := l.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, withContext{l.ctx, r})
	return errors.Join(err, f.Close())
}

// hide makes of a layer's whiteout one of overlayfs.
func (l *layer) hide(parent, base string, head *tar.Header) error {
	if head.Typeflag != tar.TypeReg || head.Size != 0 || l.shm {
		return refuse("it is no whiteout")
	}
	if base == opaque {
		return l.setXattr(parent, overlayOpaque, "y")
	}
	name := strings.TrimPrefix(base, whiteout)
	if name == "" || name == "." || name == ".." || strings.HasPrefix(name, whiteout) {
		return refuse("it is no whiteout")
	}
	name = path.Join(parent, name)
	if _, there := l.made[name]; there {
		return refuse("it hides what is there")
	}
	l.made[name] = tar.TypeChar
	return l.node(name, unix.S_IFCHR)
}

// node makes a pipe or a whiteout.
func (l *layer) node(name string, mode uint32) error {
	dir, err := l.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Mknodat(int(dir.Fd()), path.Base(name), mode, 0); err != nil {
		return &os.PathError{Op: "mknod", Path: name, Err: err}
	}
	return nil
}

// dress gives an entry its owner, mode, attributes and time.
func (l *layer) dress(name string, head *tar.Header) error {
	if head.Typeflag == tar.TypeLink {
		return nil
	}
	if head.Uid < 0 || head.Gid < 0 || head.Uid > 1<<32-2 || head.Gid > 1<<32-2 {
		return refuse("it has an impossible owner")
	}
	if err := l.root.Lchown(name, head.Uid, head.Gid); err != nil {
		return err
	}
	if head.Typeflag == tar.TypeSymlink {
		return nil
	}
	dir, err := l.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Fchmodat(int(dir.Fd()), path.Base(name), uint32(head.Mode&0o7777), 0); err != nil {
		return &os.PathError{Op: "chmod", Path: name, Err: err}
	}
	for key, value := range head.PAXRecords {
		attr, isXattr := strings.CutPrefix(key, paxXattr)
		if !isXattr || !layerXattr(attr) {
			continue
		}
		if err := l.setXattr(name, attr, value); err != nil {
			return err
		}
	}
	return l.root.Chtimes(name, head.ModTime, head.ModTime)
}

// setXattr sets an attribute of what the layer itself has made.
func (l *layer) setXattr(name, attr, value string) error {
	if err := unix.Lsetxattr(filepath.Join(l.root.Name(), name), attr, []byte(value), 0); err != nil {
		return &os.PathError{Op: "setxattr", Path: name, Err: err}
	}
	return nil
}
