package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	metadata "github.com/checkpoint-restore/checkpointctl/lib"

	"github.com/rekindle-dev/rekindle/store"
)

// ErrAltered is returned for a checkpoint whose files are not as its manifest
// says: what was written by then is no archive.
var ErrAltered = errors.New("corrupt checkpoint")

// Formats are what a checkpoint can be written as.
var Formats = []string{"archive", "oci"}

// Format says how a checkpoint is written.
type Format struct {
	// Name is one of Formats.
	Name string
	// Compress is set for zstd.
	Compress bool
}

// Write writes a checkpoint to w. It digests what it reads, and fails when that is
// not what was dumped. The checkpoint must not vanish meanwhile.
func Write(ctx context.Context, w io.Writer, c Source, f Format) error {
	var err error
	switch f.Name {
	case Formats[0]:
		err = stream(ctx, w, c, f.Compress)
	case Formats[1]:
		err = bundle(ctx, w, c, f.Compress)
	default:
		err = fmt.Errorf("there is no format %.20q: %s", f.Name, strings.Join(Formats, ", "))
	}
	if err != nil {
		return fmt.Errorf("export checkpoint %s: %w", c.Manifest.ID, err)
	}
	return nil
}

// stream writes an archive.
func stream(ctx context.Context, w io.Writer, c Source, compress bool) error {
	out, end, err := packed(w, compress)
	if err != nil {
		return err
	}
	if err := write(ctx, out, c); err != nil {
		return err
	}
	return end()
}

// Source is a checkpoint to be written.
type Source struct {
	Manifest store.Manifest
	// Dir is its directory.
	Dir string
}

// writer writes one archive.
type writer struct {
	ctx  context.Context
	root *os.Root
	tar  *tar.Writer
	time time.Time
}

func write(ctx context.Context, out io.Writer, c Source) error {
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return fmt.Errorf("open checkpoint: %w", err)
	}
	defer root.Close()
	w := &writer{ctx, root, tar.NewWriter(out), c.Manifest.Created.Truncate(time.Second)}
	m := c.Manifest
	for _, part := range []struct {
		name    string
		content any
	}{{claimsFile, claimsOf(m)}, {metadata.ConfigDumpFile, configOf(m)}, {metadata.StatusFile, statusOf(m)}} {
		data, err := encode(part.content)
		if err == nil {
			err = w.file(part.name, int64(len(data)), bytes.NewReader(data))
		}
		if err != nil {
			return err
		}
	}
	// Always in the same order: an image's layer is written twice.
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		if f := find(m.Files, kept[name]); f != nil {
			if err := w.copy(name, *f); err != nil {
				return err
			}
		}
	}
	if err := w.images(m.Files); err != nil {
		return err
	}
	if err := w.tree(metadata.RootFsDiffTar, store.RootfsDir, m.Files); err != nil {
		return err
	}
	if err := w.tree(metadata.DevShmCheckpointTar, store.ShmDir, m.Files); err != nil {
		return err
	}
	if err := w.tar.Close(); err != nil {
		return fmt.Errorf("end archive: %w", err)
	}
	return nil
}

func find(files []store.File, path string) *store.File {
	for i := range files {
		if files[i].Path == path {
			return &files[i]
		}
	}
	return nil
}

// images writes the CRIU directory.
func (w *writer) images(files []store.File) error {
	head := &tar.Header{Typeflag: tar.TypeDir, Name: metadata.CheckpointDirectory + "/", Mode: 0o700, ModTime: w.time}
	if err := w.tar.WriteHeader(head); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	for _, f := range files {
		name, inside := strings.CutPrefix(f.Path, imagesDir+"/")
		if !inside {
			continue
		}
		if !imageName.MatchString(name) {
			return fmt.Errorf("%q is not the name of an image", f.Path)
		}
		if err := w.copy(metadata.CheckpointDirectory+"/"+name, f); err != nil {
			return err
		}
	}
	return nil
}

// copy writes a file of the checkpoint.
func (w *writer) copy(name string, f store.File) error {
	return contentOf(w.ctx, w.root, f, func(r io.Reader) error { return w.file(name, f.Size, r) })
}

func (w *writer) file(name string, size int64, r io.Reader) error {
	head := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: w.time}
	if err := w.tar.WriteHeader(head); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	if _, err := io.Copy(w.tar, r); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// contentOf has use read a file of a checkpoint, and says whether it was as the
// manifest says.
func contentOf(ctx context.Context, root *os.Root, f store.File, use func(io.Reader) error) error {
	if f.Type != store.TypeFile {
		return fmt.Errorf("%q is not a file", f.Path)
	}
	file, err := root.OpenFile(f.Path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("read checkpoint: %w", err)
	}
	defer file.Close()
	d := &digested{ctx: ctx, r: io.LimitReader(file, f.Size), hash: sha256.New()}
	if err := use(d); err != nil {
		return err
	}
	if d.n != f.Size || hex.EncodeToString(d.hash.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("%w: %q is not as it was dumped", ErrAltered, f.Path)
	}
	return nil
}

// digested digests what is read through it, until ctx ends.
type digested struct {
	ctx  context.Context
	r    io.Reader
	hash hash.Hash
	n    int64
}

func (d *digested) Read(p []byte) (int, error) {
	if err := d.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := d.r.Read(p)
	d.hash.Write(p[:n])
	d.n += int64(n)
	return n, err
}
