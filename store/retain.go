package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

var errKeep = errors.New("at least one checkpoint must be kept")

// Retain removes the oldest of some checkpoints, which are given with the newest
// first, beyond keep, which is at least 1, and returns the ids of those removed,
// also with an error. It never removes the newest one that verifies, however
// many newer ones do not, nor one that is held. Pinned ones stay and count for
// nothing.
func (s *Store) Retain(ctx context.Context, list []Checkpoint, keep int) ([]string, error) {
	if keep < 1 {
		return nil, fmt.Errorf("retain checkpoints: keep %d: %w", keep, errKeep)
	}
	list = slices.DeleteFunc(slices.Clone(list), func(cp Checkpoint) bool { return s.unpinned(cp.ID) != nil })
	if len(list) <= keep {
		return nil, nil
	}
	good, err := s.NewestGood(ctx, list)
	if err != nil {
		return nil, err
	}
	var removed []string
	for _, cp := range oldestFirst(list[keep:]) {
		if cp.ID == good {
			continue
		}
		err := s.Remove(ctx, cp.ID)
		if errors.Is(err, ErrInUse) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrPinned) {
			continue
		}
		if err != nil {
			return removed, err
		}
		removed = append(removed, cp.ID)
	}
	return removed, nil
}

// NewestGood returns the id of the first in a list, which has the newest first,
// that verifies, or nothing. It fails where that cannot be told now.
func (s *Store) NewestGood(ctx context.Context, list []Checkpoint) (string, error) {
	for _, cp := range list {
		err := s.Verify(ctx, cp, Quick)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		switch {
		case err == nil:
			return cp.ID, nil
		case errors.Is(err, ErrCorrupt), errors.Is(err, ErrNotFound), errors.Is(err, ErrSchema):
		default:
			return "", err
		}
	}
	return "", nil
}

func oldestFirst(list []Checkpoint) []Checkpoint {
	out := make([]Checkpoint, 0, len(list))
	for i := len(list) - 1; i >= 0; i-- {
		out = append(out, list[i])
	}
	return out
}
