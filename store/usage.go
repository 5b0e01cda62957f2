package store

import (
	"cmp"
	"context"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Usage returns how many bytes each of some checkpoints takes on the disk. What
// several share ([Store.Share]) counts for the newest of them alone, so that the
// sum is what all take, and the oldest gives back just what is said of it. Of a
// checkpoint that is gone meanwhile, or is damaged, nothing is said. A filesystem that shares more
// than it tells, as btrfs with parts of what it gave out at once, takes more.
func (s *Store) Usage(ctx context.Context, list []Checkpoint) (map[string]int64, error) {
	shares, err := s.knowsSharing()
	if err != nil {
		return nil, err
	}
	list = slices.Clone(list)
	newestFirst(list)
	seen := map[Lineage]*spans{}
	taken := make(map[string]int64, len(list))
	for _, cp := range list {
		if seen[cp.Lineage] == nil {
			seen[cp.Lineage] = &spans{}
		}
		n, err := s.usageOf(ctx, cp, shares, seen[cp.Lineage])
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			taken[cp.ID] = n
		}
	}
	return taken, nil
}

// knowsSharing tells whether files on the filesystem can share their places.
func (s *Store) knowsSharing() (bool, error) {
	const bcachefs = 0xca451a4e
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(s.lock.Fd()), &st); err != nil {
		return false, &Error{Op: "examine filesystem", Path: s.path, Err: err}
	}
	return slices.Contains([]int64{unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, bcachefs}, st.Type), nil
}

// usageOf sums up what a checkpoint takes and is not among what was seen.
func (s *Store) usageOf(ctx context.Context, cp Checkpoint, shares bool, seen *spans) (int64, error) {
	root, err := s.openCheckpoint(cp.Lineage, cp.ID)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	entries, err := scan(ctx, root)
	if err != nil {
		return 0, err
	}
	total := int64(0)
	var shared spans
	for _, e := range entries {
		if e.Type != TypeHardlink {
			total += e.taken
		}
		if !shares || e.Type != TypeFile || e.taken < packSmallest {
			continue
		}
		list := sharedExtents(root, e)
		for _, x := range list {
			total -= int64(x.length)
			shared = append(shared, span{x.physical, x.physical + x.length})
		}
	}
	return total + seen.add(shared), nil
}

// sharedExtents returns those of a file that others may have, too; none where
// that cannot be told.
func sharedExtents(root *os.Root, e entry) []extent {
	f, err := openToPack(root, e.Path, os.O_RDONLY)
	if err != nil {
		return nil
	}
	defer f.Close()
	list, err := extentsOf(f)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(list, func(x extent) bool { return !x.shared })
}

// span is a part of the disk, and spans are some that are sorted and do not
// touch.
type (
	span  struct{ from, to uint64 }
	spans []span
)

// add adds spans, in any order, and returns how many bytes there are more.
func (s *spans) add(more spans) int64 {
	before := s.size()
	all := slices.Concat(*s, more)
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	merged := all[:0]
	for _, x := range all {
		if last := len(merged) - 1; last >= 0 && x.from <= merged[last].to {
			merged[last].to = max(merged[last].to, x.to)
			continue
		}
		merged = append(merged, x)
	}
	*s = merged
	return s.size() - before
}

func (s *spans) size() (n int64) {
	for _, x := range *s {
		n += int64(x.to - x.from)
	}
	return n
}
