package archive

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"

	metadata "github.com/checkpoint-restore/checkpointctl/lib"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rekindle-dev/rekindle/store"
)

// Read unpacks an archive or a bundle, compressed or not, into the empty directory dir, as
// the files of a checkpoint, and returns what it says of itself. Anybody may have
// made it. So it is an error, [ErrRefused] mostly, if
//
//   - it has a name that no tool writes, one twice, or anything but plain files
//     and the directory of images; links, devices and sparse files are none,
//   - a layer in it has a device, or a name that leads out of its tree, over a
//     link of its own, or to a file that it has not,
//   - it takes more than the limits.
//
// Nothing is written but below dir; no link is followed; no path, mount, image
// reference or annotation in it is acted upon. After an error what is in dir is
// for the caller to remove. Memory: some 30 MiB at most.
func Read(ctx context.Context, r io.Reader, dir string, limits Limits) (Claims, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Claims{}, fmt.Errorf("open directory: %w", err)
	}
	defer root.Close()
	in, end, err := plain(r, limits)
	if err != nil {
		return Claims{}, fmt.Errorf("read archive: %w", err)
	}
	defer end()
	a := &reader{ctx: ctx, root: root, limits: limits, budget: budget{limits.Bytes, limits.Entries}, seen: map[string]bool{}}
	if err := a.all(newEntries(in)); err != nil {
		return Claims{}, fmt.Errorf("read archive: %w", err)
	}
	return a.claims, nil
}

// reader is the reading of one archive.
type reader struct {
	ctx    context.Context
	root   *os.Root
	limits Limits
	budget budget
	seen   map[string]bool
	claims Claims
}

// needed are the files without which there is nothing to restore.
var needed = []string{metadata.SpecDumpFile, metadata.CheckpointDirectory + "/inventory.img", metadata.CheckpointDirectory + "/pstree.img"}

func (a *reader) all(t *entries) error {
	for first := true; ; first = false {
		head, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if first && head.Name == v1.ImageLayoutFile {
			return a.bundle(t)
		}
		if err := a.budget.entry(); err != nil {
			return err
		}
		if err := a.entry(t, head); err != nil {
			return fmt.Errorf("%.200q: %w", head.Name, err)
		}
	}
	return a.complete()
}

// complete tells whether there was what a restore needs.
func (a *reader) complete() error {
	for _, name := range needed {
		if !a.seen[name] {
			return refuse("there is no %s in it", name)
		}
	}
	return nil
}

func (a *reader) entry(t io.Reader, head *tar.Header) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	name := strings.TrimSuffix(strings.TrimPrefix(head.Name, "./"), "/")
	if err := plainHeader(head); err != nil {
		return err
	}
	if head.Typeflag == tar.TypeDir {
		switch name {
		case "", ".":
			return nil
		case metadata.CheckpointDirectory:
			return a.directory(name, imagesDir)
		}
		return refuse("a directory of that name does not belong here")
	}
	if head.Typeflag != tar.TypeReg {
		return refuse("it is not a plain file")
	}
	if a.seen[name] {
		return refuse("it is there twice")
	}
	a.seen[name] = true
	image, isImage := strings.CutPrefix(name, metadata.CheckpointDirectory+"/")
	switch to, known := kept[name]; {
	case known:
		return a.file(t, to, head.Size)
	case isImage && imageName.MatchString(image):
		if err := a.directory(metadata.CheckpointDirectory, imagesDir); err != nil {
			return err
		}
		return a.file(t, path.Join(imagesDir, image), head.Size)
	case unread[name]:
		return a.budget.spend(head.Size)
	}
	switch name {
	case claimsFile:
		return a.text(t, head.Size, &a.claims)
	case metadata.ConfigDumpFile:
		return a.config(t, head.Size)
	case metadata.RootFsDiffTar:
		return a.layer(t, store.RootfsDir)
	case metadata.DevShmCheckpointTar:
		return a.layer(t, store.ShmDir)
	case metadata.DeletedFilesFile:
		return a.nothingDeleted(t, head.Size)
	}
	return refuse("a file of that name does not belong here")
}

// plainHeader refuses what only a forger writes.
func plainHeader(head *tar.Header) error {
	for key := range head.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse") {
			return refuse("it is a sparse file")
		}
	}
	if head.Size < 0 {
		return refuse("its size is negative")
	}
	if head.Typeflag == tar.TypeReg && head.Linkname != "" {
		return refuse("it is a file and a link")
	}
	return nil
}

func (a *reader) directory(name, to string) error {
	if a.seen[name+"/"] {
		return nil
	}
	a.seen[name+"/"] = true
	return a.root.Mkdir(to, 0o700)
}

// file writes a new file.
func (a *reader) file(r io.Reader, name string, size int64) error {
	if err := a.budget.spend(size); err != nil {
		return err
	}
	f, err := a.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, withContext{a.ctx, r})
	return errors.Join(err, f.Close())
}

// withContext ends reading with its context.
type withContext struct {
	ctx context.Context
	r   io.Reader
}

func (w withContext) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(p)
}

// text decodes a small file of JSON.
func (a *reader) text(r io.Reader, size int64, into any) error {
	if size > maxText {
		return refuse("it is larger than %d MiB", maxText>>20)
	}
	data, err := io.ReadAll(io.LimitReader(r, size))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return refuse("%v", err)
	}
	return nil
}

// config reads what other tools say of the container, where we do not say more.
func (a *reader) config(r io.Reader, size int64) error {
	var c metadata.ContainerConfig
	if err := a.text(r, size, &c); err != nil {
		return err
	}
	if a.claims.ImageDigest != "" {
		return nil
	}
	a.claims.Container, a.claims.ImageName, a.claims.Created = c.Name, c.RootfsImageName, c.CheckpointedAt
	// A reference by digest names the manifest; an id alone names something else.
	if _, digest, found := strings.Cut(c.RootfsImageRef, "@"); found {
		a.claims.ImageDigest = digest
	}
	return nil
}

// nothingDeleted refuses CRI-O's and Podman's list of deleted files, unless it is
// empty: what a whiteout would have to lie in is not in their archives.
func (a *reader) nothingDeleted(r io.Reader, size int64) error {
	var names []string
	if err := a.text(r, size, &names); err != nil {
		return err
	}
	if len(names) > 0 {
		return refuse("it lists deleted files, which can only be taken over from layers with whiteouts")
	}
	return nil
}
