package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/fail"
	"github.com/rekindle-dev/rekindle/store"
)

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	a, b := commit(t, s, redis), commit(t, s, redis)
	if err := s.Update(a.ID, func(m *store.Marks) error { m.Attempts++; return nil }); err != nil {
		t.Fatal(err)
	}
	reader, err := os.Open(filepath.Join(a.Dir(), "criu/pages-1.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := s.Remove(context.Background(), a.ID); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, list(t, s, redis), b.ID)
	wantEmpty(t, dir, "trash")
	wantEmpty(t, dir, "marks")
	if n, err := reader.Read(make([]byte, 8)); n != 8 {
		t.Errorf("read through an open file: %d, %v", n, err)
	}
	if err := s.Remove(context.Background(), a.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("second Remove=%v, want ErrNotFound", err)
	}
	if err := s.Remove(context.Background(), b.ID); err != nil {
		t.Fatal(err)
	}
	wantEmpty(t, dir, "checkpoints")
}

// TestEmptyTrash has the disk fail for a moment when a checkpoint is deleted: it is
// gone for everybody, and its space is given back later.
func TestEmptyTrash(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	cp := commit(t, s, redis)
	before := fail.Set(func(p *fail.Point) error {
		if p == fail.RemoveDelete {
			return syscall.EIO
		}
		return nil
	})
	err := s.Remove(context.Background(), cp.ID)
	fail.Set(before)
	if !errors.Is(err, syscall.EIO) {
		t.Fatalf("Remove=%v, want EIO", err)
	}
	wantIDs(t, list(t, s, redis))
	if len(readDir(t, dir, "trash")) != 1 {
		t.Fatal("nothing was left to be deleted")
	}
	if err := s.EmptyTrash(); err != nil {
		t.Fatal(err)
	}
	wantEmpty(t, dir, "trash")
}

func TestQuarantine(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	cp := commit(t, s, redis)
	if err := s.Quarantine(cp.ID, "restore failed\xff"); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, list(t, s, redis))
	if _, err := s.Get(cp.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get=%v, want ErrNotFound", err)
	}
	reason, err := os.ReadFile(filepath.Join(dir, "quarantine", cp.ID+".reason"))
	if err != nil || string(reason) != "restore failed?\n" {
		t.Errorf("reason=%q, %v", reason, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "quarantine", cp.ID, "criu/pages-1.img")); err != nil {
		t.Error(err)
	}
	for range 9 {
		if err := s.Quarantine(commit(t, s, redis).ID, "again"); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	open(t, dir)
	entries, err := os.ReadDir(filepath.Join(dir, "quarantine"))
	if err != nil || len(entries) != 16 || entries[0].Name() == cp.ID {
		t.Fatalf("quarantine has %v, %v, want the last eight and their reasons", entries, err)
	}
}

func TestRetain(t *testing.T) {
	spoilt := func(cp store.Checkpoint) error { return os.Remove(filepath.Join(cp.Dir(), "config.json")) }
	tests := map[string]struct {
		keep   int
		spoil  []int // indices, 0 is the oldest of five
		inUse  []int
		remain []int
	}{
		"Newest":             {2, nil, nil, []int{3, 4}},
		"One":                {1, nil, nil, []int{4}},
		"NothingToDo":        {5, nil, nil, []int{0, 1, 2, 3, 4}},
		"InUse":              {1, nil, []int{1}, []int{1, 4}},
		"NewestAreCorrupt":   {2, []int{3, 4}, nil, []int{2, 3, 4}},
		"OnlyOldestIsGood":   {2, []int{1, 2, 3, 4}, nil, []int{0, 3, 4}},
		"AllAreCorrupt":      {2, []int{0, 1, 2, 3, 4}, nil, []int{3, 4}},
		"OldOneIsCorrupt":    {2, []int{0}, nil, []int{3, 4}},
		"CorruptAndInUse":    {1, []int{4}, []int{0}, []int{0, 3, 4}},
		"NewestIsGoodEnough": {2, []int{3}, nil, []int{3, 4}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			var all []store.Checkpoint
			for range 5 {
				all = append(all, commit(t, s, redis))
			}
			for _, i := range tc.spoil {
				if err := spoilt(all[i]); err != nil {
					t.Fatal(err)
				}
			}
			for _, i := range tc.inUse {
				release, err := s.Hold(all[i].ID)
				if err != nil {
					t.Fatal(err)
				}
				defer release()
			}
			removed, err := s.Retain(context.Background(), list(t, s, redis), tc.keep)
			if err != nil {
				t.Fatal(err)
			}
			var want, gone []string
			for i, cp := range all {
				if slices.Contains(tc.remain, i) {
					want = append([]string{cp.ID}, want...)
				} else {
					gone = append(gone, cp.ID)
				}
			}
			wantIDs(t, list(t, s, redis), want...)
			if !slices.Equal(removed, gone) {
				t.Errorf("removed %v, want %v", removed, gone)
			}
		})
	}
	t.Run("KeepZero", func(t *testing.T) {
		s := open(t, t.TempDir())
		cp := commit(t, s, redis)
		if _, err := s.Retain(context.Background(), list(t, s, redis), 0); err == nil {
			t.Error("Retain accepted 0")
		}
		wantIDs(t, list(t, s, redis), cp.ID)
	})
	t.Run("OtherLineagesStay", func(t *testing.T) {
		s := open(t, t.TempDir())
		other := commit(t, s, store.Lineage{Namespace: "shop", Workload: "redis-0", Container: "sidecar"})
		commit(t, s, redis)
		commit(t, s, redis)
		if _, err := s.Retain(context.Background(), list(t, s, redis), 1); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, list(t, s, other.Lineage), other.ID)
	})
}

func TestMarks(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	cp := commit(t, s, redis)
	if m, err := s.Marks(cp.ID); err != nil || !reflect.DeepEqual(m, store.Marks{}) {
		t.Fatalf("Marks=%+v, %v, want none", m, err)
	}
	want := store.Marks{
		ClaimedBy: "pod", Attempts: 2, Completed: true,
		Failures: []store.Failure{{Time: time.Unix(1, 0).UTC(), Reason: "criu said no"}},
	}
	if err := s.Update(cp.ID, func(m *store.Marks) error { *m = want; return nil }); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir)
	if m, err := s.Marks(cp.ID); err != nil || !reflect.DeepEqual(m, want) {
		t.Fatalf("Marks=%+v, %v, want %+v", m, err, want)
	}
	if err := s.Verify(context.Background(), cp, store.Full); err != nil {
		t.Errorf("marks changed the checkpoint: %v", err)
	}

	t.Run("ErrorChangesNothing", func(t *testing.T) {
		no := errors.New("claimed by another")
		if err := s.Update(cp.ID, func(m *store.Marks) error { m.Attempts = 9; return no }); !errors.Is(err, no) {
			t.Fatalf("Update=%v, want %v", err, no)
		}
		if m, _ := s.Marks(cp.ID); m.Attempts != 2 {
			t.Fatalf("Attempts=%d, want 2", m.Attempts)
		}
	})
	t.Run("Bounded", func(t *testing.T) {
		for i := range 40 {
			err := s.Update(cp.ID, func(m *store.Marks) error {
				m.Failures = append(m.Failures, store.Failure{Reason: fmt.Sprint(i, strings.Repeat("x", 5000))})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		m, err := s.Marks(cp.ID)
		if err != nil || len(m.Failures) != 16 || !strings.HasPrefix(m.Failures[15].Reason, "39x") || len(m.Failures[0].Reason) > 1024 {
			t.Fatalf("%d failures, %v", len(m.Failures), err)
		}
	})
	t.Run("NoSuchCheckpoint", func(t *testing.T) {
		gone := "01ARZ3NDEKTSV4RRFFQ69G5FAV"
		if err := s.Update(gone, func(*store.Marks) error { return nil }); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Update=%v, want ErrNotFound", err)
		}
		if _, err := s.Marks(gone); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Marks=%v, want ErrNotFound", err)
		}
	})
	t.Run("Unreadable", func(t *testing.T) {
		write(t, filepath.Join(dir, "marks", cp.ID+".json"), "{")
		if _, err := s.Marks(cp.ID); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("Marks=%v, want ErrCorrupt", err)
		}
	})
	t.Run("OrphansAreSwept", func(t *testing.T) {
		write(t, filepath.Join(dir, "marks", "01ARZ3NDEKTSV4RRFFQ69G5FAV.json"), "{}")
		write(t, filepath.Join(dir, "marks", cp.ID+".json.tmp"), "{}")
		s.Close()
		open(t, dir)
		entries, err := os.ReadDir(filepath.Join(dir, "marks"))
		if err != nil || len(entries) != 1 || entries[0].Name() != cp.ID+".json" {
			t.Fatalf("marks has %v, %v", entries, err)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	s := open(t, t.TempDir())
	cp := commit(t, s, redis)
	var wg sync.WaitGroup
	var mu sync.Mutex
	claims := 0
	for i := range 8 {
		wg.Go(func() {
			err := s.Update(cp.ID, func(m *store.Marks) error {
				if m.ClaimedBy == "" {
					m.ClaimedBy = fmt.Sprint(i)
					mu.Lock()
					claims++
					mu.Unlock()
				}
				m.Attempts++
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 4 {
		wg.Go(func() {
			l := store.Lineage{Namespace: "n", Workload: "w", Container: fmt.Sprint("c", i%2)}
			for range 5 {
				st, err := s.Begin(context.Background(), l, 1)
				if err == nil {
					err = os.WriteFile(filepath.Join(st.Dir(), "x"), []byte("x"), 0o600)
				}
				if err == nil {
					_, err = st.Commit(context.Background(), store.Manifest{})
				}
				var all []store.Checkpoint
				if err == nil {
					all, err = s.List(l)
				}
				if err == nil {
					_, err = s.Retain(context.Background(), all, 1)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if m, err := s.Marks(cp.ID); err != nil || m.Attempts != 8 || claims != 1 {
		t.Fatalf("Marks=%+v, %v, %d claims, want 8 attempts and 1 claim", m, err, claims)
	}
	all, err := s.All(context.Background())
	if err != nil || len(all) != 3 {
		t.Fatalf("All=%v, %v, want 3", ids(all), err)
	}
}
