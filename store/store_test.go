package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/store"
)

func TestOpen(t *testing.T) {
	t.Run("MakesPrivateDirectory", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a", "store")
		open(t, dir)
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Fatalf("mode=%v, %v, want 0700", info.Mode(), err)
		}
	})
	t.Run("TightensDirectory", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		open(t, dir)
		if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
			t.Fatalf("mode=%v, want 0700", info.Mode())
		}
	})
	t.Run("ErrLockedNamesHolder", func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir)
		_, err := store.Open(dir)
		if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
			t.Fatalf("Open=%v, want ErrLocked with our pid", err)
		}
		if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(dir); !errors.Is(err, store.ErrLocked) {
			t.Fatalf("Open without lock file=%v, want ErrLocked", err)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Fatalf("Close twice: %v", err)
		}
		open(t, dir)
	})
	t.Run("RemovesStaleHolder", func(t *testing.T) {
		dir := t.TempDir()
		open(t, dir).Close()
		if err := os.WriteFile(filepath.Join(dir, "lock"), []byte("999999\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		open(t, dir)
	})
}

func TestOpenRefuses(t *testing.T) {
	tests := map[string]struct {
		make func(t *testing.T, dir string) string // returns what to open
		want error
	}{
		"Relative": {func(*testing.T, string) string { return "store" }, store.ErrUnsafe},
		"Root":     {func(*testing.T, string) string { return "/" }, store.ErrUnsafe},
		"Symlink": {func(t *testing.T, dir string) string {
			link := dir + "-link"
			if err := os.Symlink(dir, link); err != nil {
				t.Fatal(err)
			}
			return link
		}, store.ErrUnsafe},
		"File": {func(t *testing.T, dir string) string {
			write(t, filepath.Join(dir, "f"), "")
			return filepath.Join(dir, "f")
		}, store.ErrUnsafe},
		"OtherOwner": {func(t *testing.T, dir string) string {
			needRoot(t)
			if err := os.Chown(dir, 65534, 65534); err != nil {
				t.Fatal(err)
			}
			return dir
		}, store.ErrUnsafe},
		"UnknownFormat": {func(t *testing.T, dir string) string {
			write(t, filepath.Join(dir, "FORMAT"), "2\n")
			return dir
		}, store.ErrFormat},
		"OtherUse": {func(t *testing.T, dir string) string {
			write(t, filepath.Join(dir, "passwd"), "x")
			return dir
		}, store.ErrFormat},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := store.Open(tc.make(t, t.TempDir()))
			if !errors.Is(err, tc.want) {
				t.Fatalf("Open=%v, want %v", err, tc.want)
			}
			if s != nil {
				t.Fatal("Open returned a store and an error")
			}
		})
	}
}

func TestLineageValidate(t *testing.T) {
	good := []string{"a", "redis-0", "a.b-c.d", "0", strings.Repeat("x", 253)}
	bad := []string{
		"", ".", "..", "a/b", "../a", "/a", "a..b", "A", "a_b", "-a", "a-", "a.", ".a", "a\n", "a\x00", "а", "a b",
		strings.Repeat("x", 254),
	}
	for _, name := range good {
		if err := (store.Lineage{Namespace: name, Workload: name, Container: name}).Validate(); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	s := open(t, t.TempDir())
	for _, name := range bad {
		for _, l := range []store.Lineage{{name, "w", "c"}, {"n", name, "c"}, {"n", "w", name}} {
			if _, err := s.Begin(context.Background(), l, 0); !errors.Is(err, store.ErrBadName) {
				t.Errorf("Begin %q=%v, want ErrBadName", l, err)
			}
			if _, err := s.List(l); !errors.Is(err, store.ErrBadName) {
				t.Errorf("List %q=%v, want ErrBadName", l, err)
			}
		}
	}
}

func TestIDs(t *testing.T) {
	t.Run("IncreaseWhenClockStepsBack", func(t *testing.T) {
		dir := t.TempDir()
		now := time.Unix(1_800_000_000, 0)
		clock := store.WithClock(func() time.Time { return now })
		s := open(t, dir, clock)
		var last string
		check := func() {
			t.Helper()
			cp := commit(t, s, redis)
			if cp.ID <= last {
				t.Fatalf("id %s after %s", cp.ID, last)
			}
			last = cp.ID
		}
		check()
		check() // in the same millisecond
		now = now.Add(-time.Hour)
		check()
		s.Close()
		now = now.Add(-24 * time.Hour)
		s = open(t, dir, clock)
		check()
		now = now.Add(72 * time.Hour)
		check()
		if got := list(t, s, redis); len(got) != 5 || got[0].ID != last {
			t.Fatalf("List=%v, want 5 with %s first", ids(got), last)
		}
	})
	t.Run("StagingCounts", func(t *testing.T) {
		dir := t.TempDir()
		now := time.Unix(1_800_000_000, 0)
		clock := store.WithClock(func() time.Time { return now })
		s := open(t, dir, clock)
		first := begin(t, s, redis).ID()
		s.Close()
		now = now.Add(-time.Hour)
		if second := begin(t, open(t, dir, clock), redis).ID(); second <= first {
			t.Fatalf("id %s after %s", second, first)
		}
	})
}

func TestGetRefusesHostileIDs(t *testing.T) {
	s := open(t, t.TempDir())
	cp := commit(t, s, redis)
	for _, id := range []string{
		"", ".", "..", "../../etc/passwd", strings.ToLower(cp.ID), cp.ID + "/", cp.ID + "/criu", cp.ID[:25], "8" + cp.ID[1:],
		"0OIL" + cp.ID[4:], strings.Repeat("*", 26), cp.ID + "\x00",
	} {
		if _, err := s.Get(id); !errors.Is(err, store.ErrBadID) {
			t.Errorf("Get %q=%v, want ErrBadID", id, err)
		}
		for name, err := range map[string]error{
			"Remove":     s.Remove(context.Background(), id),
			"Quarantine": s.Quarantine(id, ""),
			"Update":     s.Update(id, func(*store.Marks) error { return nil }),
		} {
			if !errors.Is(err, store.ErrBadID) {
				t.Errorf("%s %q=%v, want ErrBadID", name, id, err)
			}
		}
	}
	wantIDs(t, list(t, s, redis), cp.ID)
}

func TestFind(t *testing.T) {
	s := open(t, t.TempDir())
	a, b := commit(t, s, redis), commit(t, s, store.Lineage{Namespace: "other", Workload: "w", Container: "c"})
	if got, err := s.Find(strings.ToLower(a.ID[:25])); err == nil && got.ID != a.ID {
		t.Fatalf("Find=%v, want %s", got, a.ID)
	}
	if got, err := s.Find(b.ID); err != nil || got.ID != b.ID {
		t.Fatalf("Find=%v, %v, want %s", got, err, b.ID)
	}
	for prefix, want := range map[string]error{"0": store.ErrAmbiguous, "7ZZ": store.ErrNotFound, "": store.ErrBadID, "../": store.ErrBadID} {
		if _, err := s.Find(prefix); !errors.Is(err, want) {
			t.Errorf("Find %q=%v, want %v", prefix, err, want)
		}
	}
}

func TestBeginErrNoSpace(t *testing.T) {
	s := open(t, t.TempDir())
	sp, err := s.Space()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("Need", func(t *testing.T) {
		_, err := s.Begin(context.Background(), redis, sp.Total)
		var e *store.Error
		if !errors.Is(err, store.ErrNoSpace) || !errors.As(err, &e) || e.Hint == "" {
			t.Fatalf("Begin=%v, want ErrNoSpace with a hint", err)
		}
	})
	t.Run("MinFree", func(t *testing.T) {
		s.SetMinFree(sp.Total)
		defer s.SetMinFree(0)
		if _, err := s.Begin(context.Background(), redis, 0); !errors.Is(err, store.ErrNoSpace) {
			t.Fatalf("Begin=%v, want ErrNoSpace", err)
		}
	})
	t.Run("ReservedByOthers", func(t *testing.T) {
		half := sp.Free * 2 / 3
		st, err := s.Begin(context.Background(), redis, half)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Begin(context.Background(), redis, half); !errors.Is(err, store.ErrNoSpace) {
			t.Fatalf("second Begin=%v, want ErrNoSpace", err)
		}
		if err := st.Abort(); err != nil {
			t.Fatal(err)
		}
		st, err = s.Begin(context.Background(), redis, half)
		if err != nil {
			t.Fatalf("Begin after Abort: %v", err)
		}
		if err := st.Abort(); err != nil {
			t.Fatal(err)
		}
	})
}
