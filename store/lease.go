package store

// Hold leases a checkpoint: until release is called, which may be called more
// than once, it is not removed, neither on request nor by retention or eviction
// ([ErrInUse]). Any number of leases may be held on one checkpoint. A lease ends
// with the process; whoever needs it longer takes it again.
//
// Quarantine does not ask for leases: what is damaged serves nobody.
func (s *Store) Hold(id string) (release func(), err error) {
	err = s.take(id, func(Lineage) error {
		s.leases[id]++
		return nil
	})
	if err != nil {
		return nil, &Error{Op: "hold", ID: id, Err: err}
	}
	released := false
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if released {
			return
		}
		released = true
		if s.leases[id]--; s.leases[id] <= 0 {
			delete(s.leases, id)
		}
	}, nil
}

// AskBeforeRemoval has fn asked, too, whether a checkpoint is in use, by whoever
// has other means to know that than a lease. fn is called with the store locked
// and must not call it.
func (s *Store) AskBeforeRemoval(fn func(id string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alsoInUse = fn
}

// InUse tells whether a checkpoint is held, or otherwise in use.
func (s *Store) InUse(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inUse(id)
}

// inUse is InUse for who holds s.mu.
func (s *Store) inUse(id string) bool {
	return s.leases[id] > 0 || s.alsoInUse != nil && s.alsoInUse(id)
}
