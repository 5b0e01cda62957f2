package store

import "fmt"

// Count returns how many checkpoints there are and how many are in quarantine.
// It reads directories, no manifests: what a [Store.List] would pass over is
// counted too.
func (s *Store) Count() (kept, quarantined int, err error) {
	err = s.lineages(func(l Lineage) error {
		ids, err := s.subdirs(l.path(), validID)
		kept += len(ids)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("count checkpoints: %w", err)
	}
	ids, err := s.subdirs(quarantineDir, validID)
	if err != nil {
		return 0, 0, fmt.Errorf("count quarantine: %w", err)
	}
	return kept, len(ids), nil
}
