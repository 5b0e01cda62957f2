package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/store"
)

func TestVerified(t *testing.T) {
	verified := func(t *testing.T, s *store.Store, cp store.Checkpoint) bool {
		t.Helper()
		at, err := s.Verified(context.Background(), cp)
		if err != nil {
			t.Fatal(err)
		}
		return !at.IsZero()
	}
	t.Run("AtItsCommit", func(t *testing.T) {
		s := open(t, t.TempDir())
		if !verified(t, s, commit(t, s, redis)) {
			t.Fatal("what was just written is not trusted")
		}
	})
	t.Run("NotByAnotherProcess", func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir)
		cp := commit(t, s, redis)
		s.Close()
		s = open(t, dir)
		if verified(t, s, cp) {
			t.Fatal("trusted without having been read")
		}
		if err := s.Verify(context.Background(), cp, store.Quick); err != nil || verified(t, s, cp) {
			t.Fatalf("trusted after a look at sizes (%v)", err)
		}
		if err := s.Scrub(context.Background(), cp, 0); err != nil || !verified(t, s, cp) {
			t.Fatalf("not trusted after Scrub (%v)", err)
		}
	})
	t.Run("VoidAfterAChange", func(t *testing.T) {
		s := open(t, t.TempDir())
		cp := commit(t, s, redis)
		pages := filepath.Join(cp.Dir(), "criu/pages-1.img")
		info, err := os.Stat(pages)
		if err != nil {
			t.Fatal(err)
		}
		if err := flip(pages, 3); err != nil {
			t.Fatal(err)
		}
		// Whoever changes a file can set its modification time, not this one.
		if err := os.Chtimes(pages, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		if verified(t, s, cp) {
			t.Fatal("still trusted")
		}
		if err := s.Scrub(context.Background(), cp, 0); !errors.Is(err, store.ErrCorrupt) || verified(t, s, cp) {
			t.Fatalf("Scrub=%v, want ErrCorrupt", err)
		}
	})
	t.Run("PaceIsKept", func(t *testing.T) {
		s := open(t, t.TempDir())
		st := begin(t, s, redis)
		fill(t, st.Dir())
		if err := os.WriteFile(filepath.Join(st.Dir(), "criu/pages-2.img"), make([]byte, 3<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		cp, err := st.Commit(context.Background(), store.Manifest{})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := s.Scrub(context.Background(), cp, 8<<20); err != nil {
			t.Fatal(err)
		}
		// A MiB is free, the others take an eighth of a second each.
		if took := time.Since(began); took < 240*time.Millisecond {
			t.Fatalf("3 MiB at 8 MiB a second took %v", took)
		}
	})
}

func TestHold(t *testing.T) {
	s := open(t, t.TempDir())
	cp := commit(t, s, redis)
	one, err := s.Hold(cp.ID)
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.Hold(cp.ID)
	if err != nil {
		t.Fatal(err)
	}
	one()
	one() // counts once
	if err := s.Remove(context.Background(), cp.ID); !errors.Is(err, store.ErrInUse) || !s.InUse(cp.ID) {
		t.Fatalf("Remove of a held one: %v", err)
	}
	two()
	if err := s.Remove(context.Background(), cp.ID); err != nil || s.InUse(cp.ID) {
		t.Fatal(err)
	}
	if _, err := s.Hold(cp.ID); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Hold of a removed one: %v, want ErrNotFound", err)
	}
}

// TestVerifyDir is what the executor does while CRIU restores.
func TestVerifyDir(t *testing.T) {
	s := open(t, t.TempDir())
	cp := commit(t, s, redis)
	if err := store.VerifyDir(context.Background(), cp.Dir(), cp.Sum()); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(cp.ID)
	if err != nil || got.Sum() != cp.Sum() {
		t.Fatalf("Sum=%s, %v, want %s", got.Sum(), err, cp.Sum())
	}
	for name, spoil := range map[string]func() error{
		"Rootfs": func() error { return flip(filepath.Join(cp.Dir(), "rootfs/etc/motd"), 1) },
		"Shm":    func() error { return flip(filepath.Join(cp.Dir(), "shm/seg"), 1) },
		"Pages":  func() error { return flip(filepath.Join(cp.Dir(), "criu/pages-1.img"), 1) },
		"Manifest": func() error {
			return os.WriteFile(filepath.Join(cp.Dir(), "manifest.json"), read(t, filepath.Join(commit(t, s, redis).Dir(), "manifest.json")), 0o600)
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if err := store.VerifyDir(context.Background(), cp.Dir(), cp.Sum()); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: VerifyDir=%v, want ErrCorrupt", name, err)
		}
		if name != "Manifest" {
			if err := spoil(); err != nil { // flips it back
				t.Fatal(err)
			}
		}
	}
}
