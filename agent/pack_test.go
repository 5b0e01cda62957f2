package agent

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/store"
)

// TestPackAlways has the worker save space: of what was there at its start, of
// what is made later, and, with a rate of 0, of nothing.
func TestPackAlways(t *testing.T) {
	w := newWorld(t)
	a := w.container("redis-0", "s1", nil)
	w.starts(a)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	defer func() { cancel(); <-ended }()

	before := zeroes(t, w.agent.store, a.lineage)
	go func() { w.agent.PackAlways(ctx); close(ended) }()
	w.agent.once.Do(func() { close(w.agent.synchronized) })
	wantTaken(t, w.agent.store, before, 0)

	later := zeroes(t, w.agent.store, a.lineage)
	release, err := w.agent.store.Hold(later.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.agent.unpacked.add(a.lineage)
	other := zeroes(t, w.agent.store, a.lineage)
	w.agent.unpacked.add(a.lineage)
	wantTaken(t, w.agent.store, other, 0)
	wantTaken(t, w.agent.store, later, 1<<20) // in use
	release()

	cfg := w.agent.Config()
	cfg.Store.PackRate = 0
	w.agent.Reload(cfg)
	w.agent.unpacked.add(a.lineage)
	if p := (&packer{Agent: w.agent}); p.rate() != 0 {
		t.Errorf("rate=%d", p.rate())
	}
	wantTaken(t, w.agent.store, later, 1<<20)
}

// zeroes commits a checkpoint with a MiB of zeroes.
func zeroes(t *testing.T, s *store.Store, l store.Lineage) store.Checkpoint {
	t.Helper()
	st, err := s.Begin(context.Background(), l, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(st.Dir(), "criu")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pages-1.img"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := st.Commit(context.Background(), store.Manifest{Trigger: "interval"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantTaken waits until a checkpoint takes about so many bytes.
func wantTaken(t *testing.T, s *store.Store, c store.Checkpoint, want int64) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		taken, err := s.Usage(context.Background(), []store.Checkpoint{c})
		if err != nil {
			t.Fatal(err)
		}
		if got := taken[c.ID]; got >= want && got < want+64<<10 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it takes %d bytes, want about %d", taken[c.ID], want)
		}
	}
}
