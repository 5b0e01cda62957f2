package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Twin is a place in a checkpoint, and one in an older checkpoint of the same
// lineage, that may have the same content. Both are files by path, and positions
// in bytes.
type Twin struct {
	File, OlderFile string
	At, OlderAt     int64
	Length          int64
}

// Share has an older checkpoint use the newer one's place on the disk where the
// content is the same: in the twins, and in files that are equal by their
// digests. The kernel compares before it does that, so nobody reads anything else
// afterwards; the newer checkpoint is only read. It returns how many bytes of the
// older one are shared since; [ErrUnsupported] where the filesystem cannot do it.
// It reads no more than so many bytes a second; 0 is no limit. It keeps nobody
// from using or removing either checkpoint meanwhile.
func (s *Store) Share(ctx context.Context, newer, older Checkpoint, twins []Twin, bytesPerSecond int64) (int64, error) {
	if newer.Lineage != older.Lineage {
		return 0, &Error{Op: "share", ID: older.ID, Err: ErrUnsafe, Hint: "the other checkpoint is of another container"}
	}
	p := &pair{}
	defer p.close()
	var err error
	for cp, root := range map[*Checkpoint]**os.Root{&newer: &p.newer.root, &older: &p.older.root} {
		if *root, err = s.openCheckpoint(cp.Lineage, cp.ID); err != nil {
			return 0, &Error{Op: "share", ID: cp.ID, Err: err}
		}
	}
	return pack(bytesPerSecond, func(pk *packer) error {
		p.packer = pk
		for _, t := range slices.Concat(equalFiles(newer, older), twins) {
			if err := p.share(ctx, t); err != nil {
				return &Error{Op: "share", ID: older.ID, Path: t.OlderFile, Err: err}
			}
		}
		return nil
	})
}

// equalFiles returns the files that are the same in both by path and digest.
func equalFiles(newer, older Checkpoint) []Twin {
	var twins []Twin
	for _, f := range newer.Files {
		i, ok := slices.BinarySearchFunc(older.Files, f.Path, func(o File, path string) int { return bytes.Compare([]byte(o.Path), []byte(path)) })
		if ok && f.Type == TypeFile && older.Files[i].Type == TypeFile && older.Files[i].SHA256 == f.SHA256 && f.Size >= packSmallest {
			twins = append(twins, Twin{File: f.Path, OlderFile: f.Path, Length: f.Size})
		}
	}
	return twins
}

// side is one of two checkpoints, and the file of it that is looked at.
type side struct {
	root    *os.Root
	path    string
	file    *os.File
	extents []extent
	told    bool // the extents are known
	buf     []byte
}

// pair are the two.
type pair struct {
	newer, older side
	packer       *packer
}

func (p *pair) close() {
	for _, s := range []*side{&p.newer, &p.older} {
		s.shut()
		if s.root != nil {
			s.root.Close()
		}
	}
}

func (s *side) shut() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}

// open makes a file the one that is looked at. A filesystem that does not tell
// where it is on the disk can share all the same.
func (s *side) open(path string) (err error) {
	if s.file != nil && s.path == path {
		return nil
	}
	s.shut()
	if s.file, err = openToPack(s.root, path, os.O_RDONLY); err != nil {
		return err
	}
	s.path = path
	s.extents, s.told = nil, false
	if list, err := extentsOf(s.file); err == nil {
		s.extents, s.told = list, true
	}
	return nil
}

func (p *pair) share(ctx context.Context, t Twin) error {
	if t.At%packBlock != 0 || t.OlderAt%packBlock != 0 || t.Length < packSmallest {
		return nil
	}
	if err := errors.Join(p.newer.open(t.File), p.older.open(t.OlderFile)); err != nil {
		return err
	}
	for done := int64(0); done+packBlock <= t.Length; done += packChunk {
		n := min(packChunk, t.Length-done) / packBlock * packBlock
		if err := p.shareChunk(ctx, t.At+done, t.OlderAt+done, n); err != nil {
			return err
		}
	}
	return nil
}

// shareChunk looks for what is the same, because the kernel only says whether all
// of a range is.
func (p *pair) shareChunk(ctx context.Context, at, olderAt, n int64) error {
	if p.shared(at, olderAt, n) {
		return nil
	}
	for s, at := range map[*side]int64{&p.newer: at, &p.older: olderAt} {
		if err := p.packer.wait(ctx, int(n)); err != nil {
			return err
		}
		s.buf = slices.Grow(s.buf[:0], int(n))[:n]
		if _, err := s.file.ReadAt(s.buf, at); err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
	for _, r := range stretches(int(n), func(from, to int) bool { return bytes.Equal(p.newer.buf[from:to], p.older.buf[from:to]) }) {
		if p.shared(at+r.at, olderAt+r.at, r.length) {
			continue
		}
		if err := p.dedupe(at+r.at, olderAt+r.at, r.length); err != nil {
			return err
		}
	}
	return nil
}

// shared tells whether nothing is to be gained.
func (p *pair) shared(at, olderAt, n int64) bool {
	return p.newer.told && p.older.told && samePlace(p.newer.extents, p.older.extents, uint64(at), uint64(olderAt), uint64(n))
}

// dedupe has the kernel compare both and give up the older one's place. It may do
// less than all at once.
func (p *pair) dedupe(at, olderAt, n int64) error {
	for n > 0 {
		ask := unix.FileDedupeRange{
			Src_offset: uint64(at), Src_length: uint64(n),
			Info: []unix.FileDedupeRangeInfo{{Dest_fd: int64(p.older.file.Fd()), Dest_offset: uint64(olderAt)}},
		}
		if err := unix.IoctlFileDedupeRange(int(p.newer.file.Fd()), &ask); err != nil {
			return packError("share", err)
		}
		got := ask.Info[0]
		switch done := int64(got.Bytes_deduped); {
		case got.Status < 0:
			return packError("share", unix.Errno(-got.Status))
		case got.Status == unix.FILE_DEDUPE_RANGE_DIFFERS, done <= 0:
			return nil
		default:
			p.packer.saved += done
			at, olderAt, n = at+done, olderAt+done, n-done
		}
	}
	return nil
}
