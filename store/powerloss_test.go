package store_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/fail"
	"github.com/rekindle-dev/rekindle/store"
)

const (
	// shutdownCall makes a filesystem stop as it is, and noFlush has it leave
	// everything behind that was not synced (EXT4_IOC_SHUTDOWN, and that of XFS).
	shutdownCall = 0x8004587d
	noFlush      = 2
)

// disk is a filesystem of its own, whose power can be cut.
type disk struct {
	*testing.T
	kind, image, dir string
}

// disks are the kinds of filesystems whose power is cut, and how they are made and
// mounted. No commit of the journal by the clock: only what is synced survives.
// (The clock of XFS is 30 seconds, longer than any of the tests.)
var disks = map[string]struct {
	size    int64
	options string
}{
	"ext4": {32 << 20, "loop,commit=300"},
	"xfs":  {320 << 20, "loop"},
}

func newDisk(t *testing.T, kind string) *disk {
	t.Helper()
	needRoot(t)
	d := &disk{T: t, kind: kind, image: filepath.Join(memoryDir(t), "disk"), dir: t.TempDir()}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, disks[kind].size); err != nil {
		t.Fatal(err)
	}
	d.run("mkfs."+kind, "-q", d.image)
	d.mount()
	t.Cleanup(func() { _ = unix.Unmount(d.dir, unix.MNT_DETACH) })
	return d
}

func (d *disk) run(name string, args ...string) {
	d.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.Fatalf("%s: %v: %s", name, err, out)
	}
}

func (d *disk) mount() {
	d.Helper()
	d.run("mount", "-o", disks[d.kind].options, d.image, d.dir)
}

// cut stops the filesystem at once: what was not synced is lost.
func (d *disk) cut() {
	d.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), shutdownCall, noFlush); err != nil {
		d.Fatalf("cut the power: %v", err)
	}
}

// store returns the path of a store on the disk.
func (d *disk) store() string { return filepath.Join(d.dir, "store") }

// again is what a reboot does.
func (d *disk) again() {
	d.Helper()
	if err := unix.Unmount(d.dir, 0); err != nil {
		d.Fatal(err)
	}
	d.mount()
}

// afterCut commits one checkpoint, begins another, and cuts the power at a point
// of that; nil: right after it is committed. It returns the first and, if its
// commit has returned, the second, and the store as it is after a reboot.
func afterCut(t *testing.T, d *disk, p *fail.Point) (s *store.Store, sure []string) {
	t.Helper()
	s, err := store.Open(d.store())
	if err != nil {
		t.Fatal(err)
	}
	first := commit(t, s, redis)
	sure = append(sure, first.ID)
	st := begin(t, s, redis)
	fill(t, st.Dir())
	reached := false
	before := fail.Set(func(hit *fail.Point) error {
		if hit == p {
			reached = true
			d.cut()
		}
		return nil
	})
	cp, err := st.Commit(context.Background(), store.Manifest{Trigger: "interval"})
	fail.Set(before)
	switch {
	case p == nil && err == nil:
		sure = append([]string{cp.ID}, sure...)
		d.cut()
	case p == nil:
		t.Fatal(err)
	case !reached || err == nil:
		t.Fatalf("the power was cut: %v; the commit returned %v", reached, err)
	}
	s.Close()
	d.again()
	if s, err = store.Open(d.store()); err != nil {
		t.Fatalf("open after the cut: %v", err)
	}
	return s, sure
}

// TestPowerLoss cuts the power before each step of a commit, which is after each
// of its syncs, and right after it: the store opens, and what was committed is
// there and verifies.
func TestPowerLoss(t *testing.T) {
	points := []*fail.Point{nil}
	for _, p := range ofStore() {
		if strings.HasPrefix(p.String(), "commit.") {
			points = append(points, p)
		}
	}
	for kind := range disks {
		d := newDisk(t, kind)
		for _, p := range points {
			name := "committed"
			if p != nil {
				name = p.String()
			}
			t.Run(kind+"/"+name, func(t *testing.T) {
				s, sure := afterCut(t, d, p)
				defer s.Close()
				survived(t, s, sure)
			})
		}
	}
}

// survived makes sure that the checkpoints with those ids are there, and that
// whatever is there verifies.
func survived(t *testing.T, s *store.Store, sure []string) {
	t.Helper()
	there := list(t, s, redis)
	for _, cp := range there {
		if err := s.Verify(context.Background(), cp, store.Full); err != nil {
			t.Errorf("%s is listed: %v", cp.ID, err)
		}
	}
	have := strings.Join(ids(there), " ")
	for _, id := range sure {
		if !strings.Contains(have, id) {
			t.Errorf("%s was committed, there are %s", id, have)
		}
	}
}

// TestPowerLossIsFelt takes the sync of files out: then what was committed does
// not survive, and so the test above means something.
func TestPowerLossIsFelt(t *testing.T) {
	for kind := range disks {
		t.Run(kind, func(t *testing.T) {
			d := newDisk(t, kind)
			store.LeaveOutSyncs(t, func(path string) bool { return strings.HasSuffix(path, "pages-1.img") })
			s, sure := afterCut(t, d, nil)
			defer s.Close()
			for _, cp := range list(t, s, redis) {
				if cp.ID == sure[0] {
					if err := s.Verify(context.Background(), cp, store.Full); !errors.Is(err, store.ErrCorrupt) {
						t.Fatalf("a checkpoint whose pages were not synced survived: Verify=%v", err)
					}
					return
				}
			}
			// Not even its name did.
		})
	}
}

// TestPowerLossPacked cuts the power when the filesystem has just been told of
// holes and of places that are shared, and has written none of that down.
func TestPowerLossPacked(t *testing.T) {
	for kind := range disks {
		t.Run(kind, func(t *testing.T) {
			d := newDisk(t, kind)
			s, err := store.Open(d.store())
			if err != nil {
				t.Fatal(err)
			}
			older, newer, twins := similar(t, s)
			if n, err := s.Punch(context.Background(), newer, 0); err != nil || n == 0 {
				t.Fatalf("Punch=%d, %v", n, err)
			}
			if n, err := s.Share(context.Background(), newer, older, twins, 0); kind == "xfs" && (err != nil || n == 0) {
				t.Fatalf("Share=%d, %v", n, err)
			}
			d.cut()
			s.Close()
			d.again()
			if s, err = store.Open(d.store()); err != nil {
				t.Fatalf("open after the cut: %v", err)
			}
			defer s.Close()
			survived(t, s, []string{older.ID, newer.ID})
		})
	}
}
