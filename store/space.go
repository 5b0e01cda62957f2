package store

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// minInodes is what is set aside for a dump: some dozens of images, the changed
// files of most containers, and a margin for the files of others.
const minInodes = 1024

// Space is the state of the filesystem that holds the store, in bytes.
type Space struct {
	Total, Free int64
	// Inodes is the number of free inodes; -1 where the filesystem does not
	// count them.
	Inodes int64
}

// Space asks the filesystem. Free leaves out what is reserved for root.
func (s *Store) Space() (Space, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(s.lock.Fd()), &st); err != nil {
		return Space{}, fmt.Errorf("ask for free space: %w", err)
	}
	sp := Space{Total: int64(st.Blocks) * st.Bsize, Free: int64(st.Bavail) * st.Bsize, Inodes: -1}
	if st.Files > 0 {
		sp.Inodes = int64(st.Ffree)
	}
	return sp, nil
}

// reserve sets need bytes aside for a staging, or returns [ErrNoSpace]. What
// open stagings have asked for counts as used, although some of it may be
// written already: refusing a dump too early is cheap. The caller holds s.mu.
func (s *Store) reserve(need int64) error {
	sp, err := s.Space()
	if err != nil {
		return err
	}
	left := sp.Free - s.reserved - need
	if left < s.minFree.Load() {
		return &Error{
			Op: "reserve space", Path: s.path, Err: ErrNoSpace,
			Hint: fmt.Sprintf("%d bytes are free, %d are reserved, this dump needs %d and %d must stay free; "+
				"remove checkpoints, enlarge the filesystem or lower store.min_free", sp.Free, s.reserved, need, s.minFree.Load()),
		}
	}
	if inodes := sp.Inodes - int64(s.stagings)*minInodes; sp.Inodes >= 0 && inodes < minInodes {
		return &Error{
			Op: "reserve space", Path: s.path, Err: ErrNoSpace,
			Hint: fmt.Sprintf("only %d inodes are free, and %d dumps are under way; remove files or checkpoints", sp.Inodes, s.stagings),
		}
	}
	s.reserved += need
	s.stagings++
	return nil
}
