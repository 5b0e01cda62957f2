package store_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/store"
)

// cached counts the pages of a file that are in the page cache.
func cached(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(mapped) }()
	present := make([]byte, (len(mapped)+os.Getpagesize()-1)/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), uintptr(len(mapped)), uintptr(unsafe.Pointer(&present[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	n := 0
	for _, p := range present {
		n += int(p & 1)
	}
	return n
}

func TestDropCache(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"))
	st := begin(t, s, redis)
	fill(t, st.Dir())
	pages := filepath.Join(st.Dir(), "criu", "pages-2.img")
	if err := os.WriteFile(pages, bytes.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	cp, err := st.Commit(context.Background(), store.Manifest{Trigger: "idle", PodName: "redis-0"})
	if err != nil {
		t.Fatal(err)
	}
	pages = filepath.Join(cp.Dir(), "criu", "pages-2.img")
	if cached(t, pages) == 0 {
		t.Fatal("what was just written and digested is not in the page cache")
	}
	if err := s.DropCache(context.Background(), cp); err != nil {
		t.Fatal(err)
	}
	if n := cached(t, pages); n > 0 {
		t.Errorf("%d pages are still in the page cache", n)
	}
	if err := s.Verify(context.Background(), cp, store.Full); err != nil {
		t.Errorf("the checkpoint does not verify any more: %v", err)
	}
}
