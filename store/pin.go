package store

import "errors"

// ErrPinned means that a checkpoint is to be kept until it is unpinned.
var ErrPinned = errors.New("checkpoint is pinned")

// Pin keeps a checkpoint, durably, from being removed, by whomever; or gives it
// free again. Quarantine does not ask for pins.
func (s *Store) Pin(id string, pinned bool) error {
	return s.Update(id, func(m *Marks) error {
		m.Pinned = pinned
		return nil
	})
}

// unpinned returns [ErrPinned] for a checkpoint that is pinned. Marks that
// cannot be read pin nothing: their checkpoint is of no use.
func (s *Store) unpinned(id string) error {
	if m, err := s.readMarks(id); err == nil && m.Pinned {
		return ErrPinned
	}
	return nil
}
