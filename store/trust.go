package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"
)

// proof is that all of a checkpoint was verified: when, and a digest of what
// the filesystem said of its files then. A file that was changed through the
// filesystem since has another change time, and the proof is void.
type proof struct {
	at    time.Time
	stamp [sha256.Size]byte
}

// trust keeps the proof. It is kept in memory only: what happened to a disk
// while nobody looked is not known.
func (s *Store) trust(id string, entries []entry) {
	s.proofsMu.Lock()
	defer s.proofsMu.Unlock()
	s.proofs[id] = proof{s.now(), stampOf(entries)}
}

// distrust forgets the proof of a checkpoint.
func (s *Store) distrust(id string) {
	s.proofsMu.Lock()
	defer s.proofsMu.Unlock()
	delete(s.proofs, id)
}

// Verified returns when all of a checkpoint was last verified by this process,
// at its commit or by [Store.Verify] or [Store.Scrub], if since then nothing
// has changed about its files that the filesystem knows of. The zero time means
// never. A disk that loses a bit by itself does not show here.
func (s *Store) Verified(ctx context.Context, cp Checkpoint) (time.Time, error) {
	s.proofsMu.Lock()
	p, known := s.proofs[cp.ID]
	s.proofsMu.Unlock()
	if !known {
		return time.Time{}, nil
	}
	root, err := s.openCheckpoint(cp.Lineage, cp.ID)
	if err != nil {
		return time.Time{}, &Error{Op: "verify", ID: cp.ID, Err: err}
	}
	defer root.Close()
	entries, err := scan(ctx, root)
	if err != nil {
		return time.Time{}, &Error{Op: "verify", ID: cp.ID, Err: err}
	}
	if stampOf(entries) != p.stamp {
		s.distrust(cp.ID)
		return time.Time{}, nil
	}
	return p.at, nil
}

// Scrub is a [Full] verification behind everything else: it reads from the disk
// and not from the page cache, one file after the other, and no more than so
// many bytes a second; 0 is no limit. It keeps nobody from removing the
// checkpoint meanwhile ([ErrNotFound]).
func (s *Store) Scrub(ctx context.Context, cp Checkpoint, bytesPerSecond int64) error {
	root, err := s.openCheckpoint(cp.Lineage, cp.ID)
	if err != nil {
		return &Error{Op: "scrub", ID: cp.ID, Err: err}
	}
	defer root.Close()
	now, err := s.load(cp.Lineage, cp.ID)
	if err != nil {
		return err
	}
	r := reading{cold: true}
	if bytesPerSecond > 0 {
		r.pace = rate.NewLimiter(rate.Limit(bytesPerSecond), digestChunk)
	}
	entries, err := verifyFiles(ctx, root, now.Manifest, Full, r)
	if err != nil {
		s.distrust(cp.ID)
		return s.stillThere(cp, err)
	}
	s.trust(cp.ID, entries)
	return nil
}

// stillThere returns what a verification has found, or [ErrNotFound] if the
// checkpoint was taken away under it.
func (s *Store) stillThere(cp Checkpoint, found error) error {
	if err := s.exists(cp.ID); errors.Is(err, ErrNotFound) {
		return &Error{Op: "verify", ID: cp.ID, Err: ErrNotFound}
	}
	return found
}

// keepTrust has change alter how a checkpoint lies on the disk but nothing that
// is read of it: if it was verified before, and nobody else has touched it, it
// counts as verified then.
func (s *Store) keepTrust(ctx context.Context, cp Checkpoint, change func() error) error {
	at, err := s.Verified(ctx, cp)
	if err != nil {
		return err
	}
	changed := change()
	if at.IsZero() {
		return changed
	}
	root, err := s.openCheckpoint(cp.Lineage, cp.ID)
	if err != nil {
		return errors.Join(changed, err)
	}
	defer root.Close()
	entries, err := scan(ctx, root)
	if err == nil && compare(cp.Manifest, entries) == nil {
		s.proofsMu.Lock()
		defer s.proofsMu.Unlock()
		s.proofs[cp.ID] = proof{at, stampOf(entries)}
	}
	return changed
}

func stampOf(entries []entry) (stamp [sha256.Size]byte) {
	h := sha256.New()
	for _, e := range entries {
		fmt.Fprintf(h, "%s\x00", e.Path)
		for _, n := range []uint64{e.dev, e.ino, uint64(e.Size), uint64(e.changed)} {
			h.Write(binary.BigEndian.AppendUint64(nil, n))
		}
	}
	h.Sum(stamp[:0])
	return stamp
}
