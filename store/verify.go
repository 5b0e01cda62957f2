package store

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Level says how much [Store.Verify] reads.
type Level int

const (
	// Quick checks the manifest, that exactly the files it lists are there
	// with their types, sizes, modes, owners, links and attributes, and the
	// digests of those outside rootfs/ up to [QuickDigest] bytes: nearly all
	// that CRIU interprets, and no large pages. It takes milliseconds.
	Quick Level = iota
	// Full checks the digests of all files as well.
	Full
)

// QuickDigest is the size in bytes up to which [Quick] digests a file.
const QuickDigest = 1 << 20

// Verify makes sure that a checkpoint is what was committed. It returns
// [ErrCorrupt] with the file and what is wrong with it, [ErrSchema] for a
// manifest of another version, [ErrNotFound] if the checkpoint is gone, and
// other errors if it cannot tell.
func (s *Store) Verify(ctx context.Context, cp Checkpoint, level Level) error {
	root, err := s.openCheckpoint(cp.Lineage, cp.ID)
	if err != nil {
		return &Error{Op: "verify", ID: cp.ID, Err: err}
	}
	defer root.Close()
	now, err := s.load(cp.Lineage, cp.ID)
	if err != nil {
		return err
	}
	if now.Digest != cp.Digest {
		return corrupt(cp.ID, ManifestName, "is not the manifest that was listed")
	}
	entries, err := verifyFiles(ctx, root, now.Manifest, level, reading{})
	if err != nil {
		return s.stillThere(cp, err)
	}
	if level == Full {
		s.trust(cp.ID, entries)
	}
	return nil
}

// VerifyDir is a [Full] verification for a process that has no store open: of
// the checkpoint in dir, whose manifest must have that [Checkpoint.Sum]. Whoever
// gave the sum has made sure that the manifest is this node's.
func VerifyDir(ctx context.Context, dir, sum string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return &Error{Op: "verify", Path: dir, Err: err}
	}
	defer root.Close()
	m, found, err := readManifest(root)
	if err != nil {
		return &Error{Op: "verify", Path: ManifestName, Err: err}
	}
	if found != sum {
		return corrupt(m.ID, ManifestName, "is not the manifest that was selected")
	}
	_, err = verifyFiles(ctx, root, m, Full, reading{})
	return err
}

// verifyFiles compares a checkpoint's files with its manifest.
func verifyFiles(ctx context.Context, root *os.Root, m Manifest, level Level, r reading) ([]entry, error) {
	entries, err := scan(ctx, root)
	if errors.Is(err, ErrUnsafe) {
		return nil, &Error{Op: "verify", ID: m.ID, Err: fmt.Errorf("%w: %w", ErrCorrupt, err)}
	}
	if err != nil {
		return nil, &Error{Op: "verify", ID: m.ID, Err: err}
	}
	if err := compare(m, entries); err != nil {
		return nil, err
	}
	return entries, verifyDigests(ctx, root, m, entries, level, r)
}

func corrupt(id, path, what string, args ...any) error {
	return &Error{Op: "verify", ID: id, Path: path, Err: fmt.Errorf("%w: "+what, append([]any{ErrCorrupt}, args...)...)}
}

// compare walks both sorted lists side by side.
func compare(m Manifest, found []entry) error {
	want := m.Files
	for len(want) > 0 || len(found) > 0 {
		switch {
		case len(found) == 0 || len(want) > 0 && want[0].Path < found[0].Path:
			return corrupt(m.ID, want[0].Path, "is missing")
		case len(want) == 0 || found[0].Path < want[0].Path:
			return corrupt(m.ID, found[0].Path, "is not in the manifest")
		}
		if err := compareFile(m.ID, want[0], found[0].File); err != nil {
			return err
		}
		want, found = want[1:], found[1:]
	}
	return nil
}

func compareFile(id string, want, found File) error {
	found.SHA256 = want.SHA256
	switch {
	case found == want:
		return nil
	case found.Type != want.Type:
		return corrupt(id, want.Path, "is a %s, manifest says %s", found.Type, want.Type)
	case found.Size != want.Size:
		return corrupt(id, want.Path, "has %d bytes, manifest says %d", found.Size, want.Size)
	case found.Mode != want.Mode:
		return corrupt(id, want.Path, "has mode %#o, manifest says %#o", found.Mode, want.Mode)
	case found.UID != want.UID || found.GID != want.GID:
		return corrupt(id, want.Path, "belongs to %d:%d, manifest says %d:%d", found.UID, found.GID, want.UID, want.GID)
	case found.Link != want.Link:
		return corrupt(id, want.Path, "links to something else")
	default:
		return corrupt(id, want.Path, "has other extended attributes")
	}
}

func verifyDigests(ctx context.Context, root *os.Root, m Manifest, entries []entry, level Level, r reading) error {
	type pair struct {
		entry entry
		want  string
	}
	var files []pair
	for i, e := range entries { // compare has shown that the lists run in step
		if e.Type == TypeFile && (level == Full || e.Size <= QuickDigest && !under(e.Path, RootfsDir)) {
			files = append(files, pair{e, m.Files[i].SHA256})
		}
	}
	return each(ctx, files, func(ctx context.Context, p pair) error {
		sum, err := digestFile(ctx, root, p.entry, r)
		switch {
		case errors.Is(err, errChanged):
			return corrupt(m.ID, p.entry.Path, "%w", err)
		case err != nil:
			return &Error{Op: "verify", ID: m.ID, Path: p.entry.Path, Err: err}
		case sum != p.want:
			return corrupt(m.ID, p.entry.Path, "digest does not match")
		}
		return nil
	})
}
