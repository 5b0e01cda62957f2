package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

var errIDsExhausted = errors.New("the largest possible id is taken")

// parseID accepts exactly the canonical form: 26 upper-case characters. What
// passes is safe as a path component.
func parseID(id string) (ulid.ULID, error) {
	u, err := ulid.ParseStrict(id)
	if err != nil || u.String() != id {
		return ulid.ULID{}, fmt.Errorf("%.40q: %w", id, ErrBadID)
	}
	return u, nil
}

// validID reports whether id is canonical.
func validID(id string) bool {
	_, err := parseID(id)
	return err == nil
}

// nextID returns an id for now that is larger than last. Order in the store is
// the order of ids, so a clock that stands still or steps back must not show:
// then the id is last plus one.
func nextID(last ulid.ULID, now time.Time) (ulid.ULID, error) {
	id, err := ulid.New(ulid.Timestamp(now), rand.Reader)
	if err != nil {
		return ulid.ULID{}, fmt.Errorf("make id: %w", err)
	}
	if id.Compare(last) > 0 {
		return id, nil
	}
	for i := len(last) - 1; i >= 0; i-- {
		last[i]++
		if last[i] != 0 {
			return last, nil
		}
	}
	return ulid.ULID{}, fmt.Errorf("make id: %w", errIDsExhausted)
}
