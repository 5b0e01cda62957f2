package criu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// freezePoll is the pause between two looks at a freezing cgroup. Freezing takes
// a few milliseconds; the workload stands still meanwhile.
const freezePoll = 500 * time.Microsecond

// ErrNoFreezer is returned when a process is in no cgroup that can be frozen.
var ErrNoFreezer = errors.New("no cgroup freezer")

// Freezer stops and continues all processes of one container at once. It is
// the container's own cgroup, never the pod's.
type Freezer struct {
	dir     string
	unified bool
}

// String names the freezer by its directory, which has the container's id in it.
func (f Freezer) String() string { return f.dir }

// FreezerOf returns the freezer of the cgroup in which the process is.
func FreezerOf(pid int) (Freezer, error) {
	dir, unified, err := cgroupOf(pid, "freezer")
	if errors.Is(err, errNoCgroup) {
		return Freezer{}, fmt.Errorf("%w for process %d: %w", ErrNoFreezer, pid, errNoCgroup)
	}
	return Freezer{dir, unified}, err
}

// Freeze returns when every process of the cgroup stands still. When it fails,
// the cgroup is thawed.
func (f Freezer) Freeze(ctx context.Context) error {
	for {
		if err := f.set(true); err != nil {
			return errors.Join(err, f.Thaw())
		}
		frozen, err := f.Frozen()
		if err != nil {
			return errors.Join(err, f.Thaw())
		}
		if frozen {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("freeze %s: %w", f.dir, context.Cause(ctx)), f.Thaw())
		case <-time.After(freezePoll):
		}
	}
}

// Thaw lets the processes go on. Thawing what is not frozen does nothing, and a
// cgroup that is gone needs no thaw.
func (f Freezer) Thaw() error {
	if err := f.set(false); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Frozen tells whether every process stands still.
func (f Freezer) Frozen() (bool, error) {
	if !f.unified {
		state, err := os.ReadFile(filepath.Join(f.dir, "freezer.state"))
		if err != nil {
			return false, fmt.Errorf("read freezer: %w", err)
		}
		return strings.TrimSpace(string(state)) == "FROZEN", nil
	}
	file, err := os.Open(filepath.Join(f.dir, "cgroup.events"))
	if err != nil {
		return false, fmt.Errorf("read freezer: %w", err)
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		if s.Text() == "frozen 1" {
			return true, nil
		}
	}
	return false, nil
}

// Processes lists the processes of the cgroup, by their ids in our namespace.
func (f Freezer) Processes() ([]int, error) {
	data, err := os.ReadFile(filepath.Join(f.dir, "cgroup.procs"))
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup: %w", err)
	}
	var pids []int
	for _, field := range strings.Fields(string(data)) {
		var pid int
		if _, err := fmt.Sscan(field, &pid); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func (f Freezer) set(frozen bool) error {
	name, value := "cgroup.freeze", map[bool]string{true: "1", false: "0"}[frozen]
	if !f.unified {
		name, value = "freezer.state", map[bool]string{true: "FROZEN", false: "THAWED"}[frozen]
	}
	file, err := os.OpenFile(filepath.Join(f.dir, name), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open freezer: %w", err)
	}
	_, err = file.WriteString(value)
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s to freezer: %w", value, err)
	}
	return nil
}
