package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/rekindle-dev/rekindle/fail"
)

// commit is one run of the commit protocol. Its steps share what the earlier
// ones found.
type commit struct {
	st       *Staging
	root     *os.Root // the staging directory
	manifest Manifest
	data     []byte // the manifest as it is written
	entries  []entry
	placed   bool // the checkpoint has its name
}

// step is a part of the protocol between which a crash may fall.
type step struct {
	name  string
	do    func(context.Context) error
	point *fail.Point // passed before it
}

// Commit makes the staged files a checkpoint: it digests them, syncs them,
// writes the manifest, and gives the whole its place in the store with one
// rename. When it returns, the checkpoint survives a power cut. After any error
// there is no checkpoint and the staging is gone; what was there before is
// untouched. A done ctx stops it until the rename, not after.
//
// Of m, the fields that [Manifest] says are set by Commit are ignored.
func (st *Staging) Commit(ctx context.Context, m Manifest) (Checkpoint, error) {
	if st.state != stagingOpen {
		return Checkpoint{}, &Error{Op: "commit", ID: st.id, Err: ErrClosed, Hint: "the staging is " + string(st.state)}
	}
	cp, err := st.commit(ctx, m)
	if err != nil {
		return Checkpoint{}, errors.Join(&Error{Op: "commit", ID: st.id, Err: err}, st.Abort())
	}
	st.end(stagingCommitted)
	return cp, nil
}

func (st *Staging) commit(ctx context.Context, m Manifest) (Checkpoint, error) {
	root, err := st.store.openDir(st.rel())
	if err != nil {
		return Checkpoint{}, fmt.Errorf("open staging: %w", err)
	}
	defer root.Close()
	m.Schema, m.ID, m.Lineage = Schema, st.id, st.lineage
	if m.Encryption != nil {
		m.Schema = SchemaEncrypted
	}
	if m.Created.IsZero() {
		m.Created = st.store.now()
	}
	m.Created = m.Created.UTC().Round(0)
	c := &commit{st: st, root: root, manifest: m}
	if err := c.run(ctx, c.prepareSteps()); err != nil {
		return Checkpoint{}, err
	}
	if err := c.publish(ctx); err != nil {
		return Checkpoint{}, err
	}
	if entries, err := scan(ctx, root); err == nil {
		st.store.trust(st.id, entries) // what was digested is what was written
	}
	sum := sha256.Sum256(c.data)
	return Checkpoint{Manifest: c.manifest, dir: filepath.Join(st.store.path, c.place()), sum: hex.EncodeToString(sum[:])}, nil
}

// prepareSteps work on the staging directory alone.
func (c *commit) prepareSteps() []step {
	return []step{
		{"scan", c.scan, fail.CommitScan},
		{"digest", c.digest, fail.CommitDigest},
		{"sync files", c.syncFiles, fail.CommitSyncFiles},
		{"sync directories", c.syncDirs, fail.CommitSyncDirs},
		{"write manifest", c.writeManifest, fail.CommitWriteManifest},
		{"rename manifest", c.renameManifest, fail.CommitRenameManifest},
		{"sync staging", c.syncStaging, fail.CommitSyncStaging},
	}
}

// publishSteps change what others see.
func (c *commit) publishSteps() []step {
	return []step{
		{"make parents", c.makeParents, fail.CommitMakeParents},
		{"place", c.rename, fail.CommitPlace},
		{"sync parents", c.syncParents, fail.CommitSyncParents},
	}
}

func (c *commit) run(ctx context.Context, steps []step) error {
	for _, s := range steps {
		err := s.point.Hit()
		if err == nil && !c.placed {
			err = ctx.Err()
		}
		if err == nil {
			err = s.do(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// publish holds the store's lock, so that nobody removes the empty parents
// again before the checkpoint is in them.
func (c *commit) publish(ctx context.Context) error {
	s := c.st.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	err := c.run(ctx, c.publishSteps())
	if err != nil && c.placed {
		// It may or may not survive a power cut, so it must not be used now.
		err = errors.Join(err, s.toTrash(c.st.lineage, c.st.id), s.root.RemoveAll(path.Join(trashDir, c.st.id)))
	}
	return err
}

func (c *commit) scan(ctx context.Context) error {
	if _, err := c.root.Lstat(ManifestName); !errors.Is(err, fs.ErrNotExist) {
		return &Error{Op: "scan", Path: ManifestName, Err: ErrUnsafe, Hint: "the store alone writes the manifest"}
	}
	entries, err := scan(ctx, c.root)
	if err != nil {
		return err
	}
	for i := range entries {
		if err := c.makePrivate(&entries[i]); err != nil {
			return err
		}
	}
	c.entries = entries
	return nil
}

// makePrivate takes from everybody else what CRIU's umask may have given.
func (c *commit) makePrivate(e *entry) error {
	want := uint32(fileMode)
	if e.Type == TypeDir {
		want = uint32(dirMode)
	}
	if inTree(e.Path) || e.Mode == want {
		return nil
	}
	if err := c.root.Chmod(e.Path, fs.FileMode(want)); err != nil {
		return fmt.Errorf("make private: %w", err)
	}
	e.Mode = want
	return nil
}

func (c *commit) digest(ctx context.Context) (err error) {
	if err := c.digestFiles(ctx); err != nil {
		return err
	}
	c.manifest, c.data, err = c.manifest.seal(c.st.store.keyring.sealing())
	return err
}

// digestFiles makes the manifest's list of files.
func (c *commit) digestFiles(ctx context.Context) error {
	err := each(ctx, c.regular(), func(ctx context.Context, e *entry) (err error) {
		if e.SHA256, err = digestFile(ctx, c.root, *e, reading{}); err != nil {
			return fmt.Errorf("%s: %w", escape(e.Path), err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.manifest.Files, c.manifest.Bytes = nil, 0
	for _, e := range c.entries {
		c.manifest.Files = append(c.manifest.Files, e.File)
		c.manifest.Bytes += e.Size
	}
	return nil
}

// regular returns the entries that have content.
func (c *commit) regular() []*entry {
	var files []*entry
	for i := range c.entries {
		if c.entries[i].Type == TypeFile {
			files = append(files, &c.entries[i])
		}
	}
	return files
}

func (c *commit) syncFiles(ctx context.Context) error {
	return each(ctx, c.regular(), func(_ context.Context, e *entry) error { return syncPath(c.root, e.Path) })
}

// syncDirs makes names durable, and with them links, pipes and whiteouts, which
// cannot be synced themselves.
func (c *commit) syncDirs(ctx context.Context) error {
	var dirs []string
	for _, e := range c.entries {
		if e.Type == TypeDir {
			dirs = append(dirs, e.Path)
		}
	}
	return each(ctx, dirs, func(_ context.Context, dir string) error { return syncPath(c.root, dir) })
}

func (c *commit) writeManifest(context.Context) error {
	return writeNew(c.root, ManifestName+tempExt, c.data)
}

func (c *commit) renameManifest(context.Context) error {
	return c.root.Rename(ManifestName+tempExt, ManifestName)
}

func (c *commit) syncStaging(context.Context) error { return syncPath(c.root, ".") }

// makeParents makes the lineage's directory and syncs every directory that may
// have got a new name in it.
func (c *commit) makeParents(context.Context) error { return c.st.store.makeLineage(c.st.lineage) }

// makeLineage makes a lineage's directory durable. The caller holds s.mu, so
// that nobody removes it again while it is empty.
func (s *Store) makeLineage(l Lineage) error {
	dir := l.path()
	if err := s.root.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("make lineage: %w", err)
	}
	for dir != "." {
		dir = path.Dir(dir)
		if err := syncPath(s.root, dir); err != nil {
			return err
		}
	}
	return nil
}

func (c *commit) place() string { return path.Join(c.st.lineage.path(), c.st.id) }

func (c *commit) rename(context.Context) error {
	if err := c.st.store.root.Rename(c.st.rel(), c.place()); err != nil {
		return err
	}
	c.placed = true
	return nil
}

func (c *commit) syncParents(context.Context) error {
	if err := syncPath(c.st.store.root, c.st.lineage.path()); err != nil {
		return err
	}
	return syncPath(c.st.store.root, stagingDir)
}
