package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rekindle-dev/rekindle/store"
)

func TestQuarantineListAndRelease(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	good, bad, headless := commit(t, s, redis), commit(t, s, redis), commit(t, s, redis)
	if err := errors.Join(
		flip(filepath.Join(bad.Dir(), "criu/pages-1.img"), 2),
		os.Remove(filepath.Join(headless.Dir(), "manifest.json")),
		s.Update(good.ID, func(m *store.Marks) error { m.Attempts = 3; return nil }),
		s.Quarantine(good.ID, "restore failed"), s.Quarantine(bad.ID, "damaged"), s.Quarantine(headless.ID, "no manifest"),
	); err != nil {
		t.Fatal(err)
	}
	list, err := s.Quarantined()
	if err != nil || len(list) != 3 || list[0].ID != headless.ID || list[2].ID != good.ID {
		t.Fatalf("Quarantined=%+v, %v", list, err)
	}
	if list[2].Reason != "restore failed" || list[2].Since.IsZero() || list[2].Manifest.PodName != "redis-0" || list[0].Manifest.ID != "" {
		t.Fatalf("Quarantined=%+v", list)
	}
	for _, cp := range []store.Checkpoint{bad, headless} {
		if _, err := s.Release(context.Background(), cp.ID); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("Release of a damaged one: %v, want ErrCorrupt", err)
		}
	}
	if _, err := s.Release(context.Background(), "01ARZ3NDEKTSV4RRFFQ69G5FAV"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Release of none: %v, want ErrNotFound", err)
	}
	cp, err := s.Release(context.Background(), good.ID)
	if err != nil || cp.Dir() != good.Dir() {
		t.Fatalf("Release=%v, %v", cp, err)
	}
	s.Close()
	s = open(t, dir)
	wantIDs(t, listOf(t, s), good.ID)
	if m, err := s.Marks(good.ID); err != nil || m.Attempts != 0 {
		t.Errorf("Marks=%+v, %v, want none", m, err)
	}
	if err := s.Verify(context.Background(), cp, store.Full); err != nil {
		t.Error(err)
	}
	if names := readDir(t, dir, "quarantine"); len(names) != 4 {
		t.Errorf("quarantine has %v, want two and their reasons", names)
	}
}

func listOf(t *testing.T, s *store.Store) []store.Checkpoint {
	t.Helper()
	return list(t, s, redis)
}

func TestPin(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var all []store.Checkpoint
	for range 4 {
		all = append(all, commit(t, s, redis))
	}
	if err := s.Pin(all[0].ID, true); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir)
	if err := s.Remove(context.Background(), all[0].ID); !errors.Is(err, store.ErrPinned) {
		t.Fatalf("Remove of a pinned one: %v, want ErrPinned", err)
	}
	// It counts for nothing: two others are kept.
	if _, err := s.Retain(context.Background(), listOf(t, s), 2); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, listOf(t, s), all[3].ID, all[2].ID, all[0].ID)
	if err := s.Pin(all[0].ID, false); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(context.Background(), all[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Pin(all[0].ID, true); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Pin of none: %v, want ErrNotFound", err)
	}
}
