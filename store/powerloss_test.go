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

// disk is an ext4 filesystem of its own, whose power can be cut.
type disk struct {
	*testing.T
	image, dir string
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	needRoot(t)
	d := &disk{T: t, image: filepath.Join(memoryDir(t), "disk"), dir: t.TempDir()}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 32<<20); err != nil {
		t.Fatal(err)
	}
	d.run("mkfs.ext4", "-q", "-F", d.image)
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
	// No commit of the journal by the clock: only what is synced survives.
	d.run("mount", "-o", "loop,commit=300", d.image, d.dir)
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
	d := newDisk(t)
	for _, p := range points {
		name := "committed"
		if p != nil {
			name = p.String()
		}
		t.Run(name, func(t *testing.T) {
			s, sure := afterCut(t, d, p)
			defer s.Close()
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
		})
	}
}

// TestPowerLossIsFelt takes the sync of files out: then what was committed does
// not survive, and so the test above means something.
func TestPowerLossIsFelt(t *testing.T) {
	d := newDisk(t)
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
}
