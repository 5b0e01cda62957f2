package store_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/rekindle-dev/rekindle/store"
)

// TestEveryBit changes a checkpoint by one bit, or cuts one of its files, in
// every place (for memory pages: in many), and makes sure that none of it would
// be restored: neither the store nor the executor takes it for sound.
func TestEveryBit(t *testing.T) {
	s := open(t, memoryDir(t))
	st := begin(t, s, redis)
	fill(t, st.Dir())
	pages := bytes.Repeat([]byte("a page of memory"), 70_000) // 1.1 MiB, more than is digested before a restore
	if err := os.WriteFile(filepath.Join(st.Dir(), "criu/pages-2.img"), pages, 0o600); err != nil {
		t.Fatal(err)
	}
	cp, err := st.Commit(context.Background(), store.Manifest{Trigger: "interval", PodName: "redis-0"})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	changes := 0
	err = filepath.WalkDir(cp.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		good := read(t, path)
		try := func(what string, bad []byte) {
			changes++
			// In place, as a disk would do it: mode and owner stay.
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Get(cp.ID); err == nil {
				err = s.Verify(context.Background(), cp, store.Full)
				if !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("%s, %s: Verify=%v, want ErrCorrupt", path, what, err)
				}
			}
			if err := store.VerifyDir(context.Background(), cp.Dir(), cp.Sum()); err == nil {
				t.Errorf("%s, %s: the executor would restore it", path, what)
			}
		}
		for _, bit := range places(r, len(good)*8) {
			bad := bytes.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			try("a bit", bad)
		}
		for _, size := range places(r, len(good)) {
			try("cut", good[:size])
		}
		return os.WriteFile(path, good, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(context.Background(), cp, store.Full); err != nil {
		t.Fatalf("put back as it was: %v", err)
	}
	t.Logf("%d changes, all found", changes)
}

// places returns all numbers below n, or 80 of them, with the first and the last.
func places(r *rand.Rand, n int) []int {
	const most = 80
	var list []int
	if n <= most {
		for i := range n {
			list = append(list, i)
		}
		return list
	}
	list = append(list, 0, n-1)
	for len(list) < most {
		list = append(list, r.IntN(n))
	}
	return list
}
