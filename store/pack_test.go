package store_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/store"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// similar commits two checkpoints of 4 MiB of memory and a file of 1 MiB. 1 MiB of
// the memory is zeroes. In the newer one all memory lies three pages further, and
// one page has changed.
func similar(t *testing.T, s *store.Store) (older, newer store.Checkpoint, twins []store.Twin) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	noise := func(size int) []byte {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	data := noise(mib)
	memory := append(noise(3*mib), make([]byte, mib)...)
	changed := bytes.Clone(memory)
	changed[mib+100]++
	older = commitPages(t, s, redis, memory, data)
	newer = commitPages(t, s, redis, append(noise(12*kib), changed...), data)
	return older, newer, []store.Twin{{File: "criu/pages-1.img", At: 12 * kib, OlderFile: "criu/pages-1.img", Length: 4 * mib}}
}

func commitPages(t *testing.T, s *store.Store, l store.Lineage, memory, data []byte) store.Checkpoint {
	t.Helper()
	st := begin(t, s, l)
	fill(t, st.Dir())
	for path, content := range map[string][]byte{"criu/pages-1.img": memory, "rootfs/data": data} {
		if err := os.WriteFile(filepath.Join(st.Dir(), path), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cp, err := st.Commit(context.Background(), store.Manifest{Trigger: "interval"})
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

// used is what all files on the disk take.
func (d *disk) used() int64 {
	d.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := errors.Join(unix.Syncfs(int(f.Fd())), unix.Fstatfs(int(f.Fd()), &st)); err != nil {
		d.Fatal(err)
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize
}

// times returns when each image in the store was written.
func (d *disk) times() map[string]time.Time {
	d.Helper()
	times := map[string]time.Time{}
	err := filepath.WalkDir(d.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".img" {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			times[path] = info.ModTime()
		}
		return err
	})
	if err != nil || len(times) == 0 {
		d.Fatalf("times of %d images: %v", len(times), err)
	}
	return times
}

// TestPack saves space on a filesystem that can share and on one that cannot. What
// is read stays the same, the disk has more room, and the usage says so.
func TestPack(t *testing.T) {
	// With holes each is 3 MiB of memory and 1 MiB of a file, and some small ones.
	const whole, rest = 4 * mib, 256 * kib
	for kind, real := range map[string][2]int64{"xfs": {whole, 0}, "ext4": {whole, whole}} {
		t.Run(kind, func(t *testing.T) {
			d := newDisk(t, kind)
			s := open(t, d.store())
			defer s.Close()
			older, newer, twins := similar(t, s)
			before, times := d.used(), d.times()
			for _, cp := range []store.Checkpoint{newer, older} {
				if n, err := s.Punch(context.Background(), cp, 0); err != nil || n < mib-16*kib || n > mib {
					t.Errorf("Punch=%d, %v, want 1 MiB", n, err)
				}
				if at, err := s.Verified(context.Background(), cp); err != nil || at.IsZero() {
					t.Errorf("Verified=%v, %v: it is not trusted any more", at, err)
				}
			}
			n, err := s.Share(context.Background(), newer, older, twins, 0)
			if kind == "xfs" && (err != nil || n < 4*mib-32*kib) {
				t.Errorf("Share=%d, %v, want nearly all of 4 MiB", n, err)
			}
			if kind == "ext4" && !errors.Is(err, store.ErrUnsupported) {
				t.Errorf("Share=%d, %v, want ErrUnsupported", n, err)
			}
			if n, err := s.Share(context.Background(), newer, older, twins, 0); kind == "xfs" && (n != 0 || err != nil) {
				t.Errorf("Share again=%d, %v: it was shared already", n, err)
			}
			if now := d.times(); !maps.Equal(now, times) {
				t.Errorf("times of files=%v, want %v", now, times)
			}
			usage, err := s.Usage(context.Background(), list(t, s, redis))
			if err != nil {
				t.Fatal(err)
			}
			sum := int64(0)
			for i, cp := range []store.Checkpoint{newer, older} {
				sum += usage[cp.ID]
				if got := usage[cp.ID]; got < real[i] || got > real[i]+rest {
					t.Errorf("usage of %d=%d, want about %d", i, got, real[i])
				}
				if err := s.Verify(context.Background(), cp, store.Full); err != nil {
					t.Errorf("Verify: %v", err)
				}
			}
			// What was 10 MiB takes what the usage says.
			if freed := before - d.used(); freed < 10*mib-sum-rest {
				t.Errorf("%d bytes were freed, and the usage is %d", freed, sum)
			}
			if err := s.Remove(context.Background(), newer.ID); err != nil {
				t.Fatal(err)
			}
			usage, err = s.Usage(context.Background(), list(t, s, redis))
			if got := usage[older.ID]; err != nil || got < whole {
				t.Errorf("usage of the older one without the newer=%d, %v", got, err)
			}
			if err := s.Verify(context.Background(), older, store.Full); err != nil {
				t.Errorf("Verify without the newer one: %v", err)
			}
		})
	}
}

// TestPackInMemory makes holes where the store is a tmpfs.
func TestPackInMemory(t *testing.T) {
	s := open(t, memoryDir(t))
	_, newer, _ := similar(t, s)
	if n, err := s.Punch(context.Background(), newer, 0); err != nil || n < mib-16*kib {
		t.Fatalf("Punch=%d, %v", n, err)
	}
	if err := s.Verify(context.Background(), newer, store.Full); err != nil {
		t.Fatal(err)
	}
	usage, err := s.Usage(context.Background(), list(t, s, redis))
	if err != nil || usage[newer.ID] > newer.Bytes-mib+256*kib {
		t.Fatalf("usage=%v, %v, of %d bytes", usage, err, newer.Bytes)
	}
}

// TestShareStaysInTheLineage: what one tenant has in common with another must not
// show, and so is never kept once.
func TestShareStaysInTheLineage(t *testing.T) {
	s := open(t, t.TempDir())
	mine := commit(t, s, redis)
	other := commit(t, s, store.Lineage{Namespace: "bank", Workload: "redis-0", Container: "redis"})
	if _, err := s.Share(context.Background(), mine, other, nil, 0); !errors.Is(err, store.ErrUnsafe) {
		t.Fatalf("Share=%v, want ErrUnsafe", err)
	}
}

// TestShareOfWrongTwins has the kernel compare what has nothing in common, and
// places that are none: neither changes anything.
func TestShareOfWrongTwins(t *testing.T) {
	d := newDisk(t, "xfs")
	s := open(t, d.store())
	defer s.Close()
	older, newer, _ := similar(t, s)
	const pages = "criu/pages-1.img"
	tests := map[string]struct {
		twin  store.Twin
		fails bool
	}{
		"OtherContent": {store.Twin{File: pages, OlderFile: pages, Length: 3 * mib}, false},
		"OddOffset":    {store.Twin{File: pages, OlderFile: pages, At: 12*kib + 1, OlderAt: 1, Length: mib}, false},
		"BeyondTheEnd": {store.Twin{File: pages, OlderFile: pages, At: 64 * mib, OlderAt: 64 * mib, Length: mib}, false},
		"NoSuchFile":   {store.Twin{File: "criu/pages-9.img", OlderFile: pages, Length: mib}, true},
		"UpAndAway":    {store.Twin{File: "../../../../../../FORMAT", OlderFile: pages, Length: mib}, true},
		"Directory":    {store.Twin{File: "criu", OlderFile: pages, Length: mib}, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Share(context.Background(), newer, older, []store.Twin{tc.twin}, 0); (err != nil) != tc.fails {
				t.Errorf("Share=%v", err)
			}
			for _, cp := range []store.Checkpoint{newer, older} {
				if err := s.Verify(context.Background(), cp, store.Full); err != nil {
					t.Errorf("Verify: %v", err)
				}
			}
		})
	}
}
