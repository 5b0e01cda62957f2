package store_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rekindle-dev/rekindle/store"
)

var redis = store.Lineage{Namespace: "shop", Workload: "redis-0", Container: "redis"}

func open(t *testing.T, dir string, opts ...store.Option) *store.Store {
	t.Helper()
	s, err := store.Open(dir, opts...)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func begin(t *testing.T, s *store.Store, l store.Lineage) *store.Staging {
	t.Helper()
	st, err := s.Begin(context.Background(), l, 0)
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	return st
}

// fill writes what a dump would.
func fill(t *testing.T, dir string) {
	t.Helper()
	write(t, filepath.Join(dir, "criu", "inventory.img"), "inventory")
	write(t, filepath.Join(dir, "criu", "pages-1.img"), "pages of "+filepath.Base(dir))
	write(t, filepath.Join(dir, "rootfs", "etc", "motd"), "hello")
	write(t, filepath.Join(dir, "shm", "seg"), "shared")
	write(t, filepath.Join(dir, "config.json"), "{}")
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func commit(t *testing.T, s *store.Store, l store.Lineage) store.Checkpoint {
	t.Helper()
	st := begin(t, s, l)
	fill(t, st.Dir())
	cp, err := st.Commit(context.Background(), store.Manifest{Trigger: "interval", PodName: l.Workload})
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return cp
}

func list(t *testing.T, s *store.Store, l store.Lineage) []store.Checkpoint {
	t.Helper()
	got, err := s.List(l)
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	return got
}

func ids(cps []store.Checkpoint) []string {
	var out []string
	for _, cp := range cps {
		out = append(out, cp.ID)
	}
	return out
}

func wantIDs(t *testing.T, got []store.Checkpoint, want ...string) {
	t.Helper()
	if !slices.Equal(ids(got), want) {
		t.Fatalf("ids=%v, want %v", ids(got), want)
	}
}

// wantEmpty makes sure that a directory of the store holds nothing.
func wantEmpty(t *testing.T, parts ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Fatalf("%s has %v, want nothing", filepath.Join(parts...), entries)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: device nodes and trusted attributes")
	}
}
