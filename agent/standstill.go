package agent

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/store"
)

const (
	// resumeTime is how long after its dump a container has gone on.
	resumeTime = 50 * time.Millisecond
	// resumeCost is the CPU time that a container may use for that, for each of
	// its threads: the thread leaves the freezer, and waits again where it
	// waited before. Measured: 13 to 45.
	resumeCost = 100 * time.Microsecond
	// maxNeedless is how many checkpoints in a row are not made for standing
	// still. What hid below resumeCost is not left out for ever.
	maxNeedless = 20
)

// standstill is what shows later that nothing has run in a container since a
// checkpoint of it.
type standstill struct {
	checkpoint string
	// used is the container's CPU time when it had gone on after the dump; 0
	// when it did more than that, or nobody knows.
	used time.Duration
}

// goingOn watches a container that has just been dumped, and had used so much
// CPU time at the end of its pause. The result is for later; it is what the
// container has used when it waits again, or 0.
func (t *tracked) goingOn(paused time.Duration) <-chan time.Duration {
	result := make(chan time.Duration, 1)
	time.AfterFunc(resumeTime, func() {
		pid := t.running()
		used, err := criu.CPUTime(pid)
		if err != nil || paused == 0 || used-paused > resumeCost*time.Duration(threads(pid)) {
			used = 0
		}
		result <- used
	})
	return result
}

// dumped notes what a dump has used of the container's CPU time: CRIU's code runs
// inside the container. before is the container's CPU time right before, after is
// that at the end of the pause; 0 when it was not read.
func (t *tracked) dumped(before, after time.Duration) {
	if before == 0 || after < before {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dumping += after - before
}

// dumpCost returns what dumps have used in all.
func (t *tracked) dumpCost() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dumping
}

// needless says why a container that has used so much CPU time needs no
// checkpoint; nil when it may.
func (a *Agent) needless(t *tracked, used time.Duration) *skip {
	last, times := t.stoodStill()
	if last.used == 0 || last.used != used || times > maxNeedless {
		return nil
	}
	if _, err := a.store.Marks(last.checkpoint); err != nil {
		return nil // it was removed or set aside
	}
	return &skip{class: ClassUnchanged, reason: "nothing has run in the container since checkpoint " + last.checkpoint}
}

// sharesMemory tells whether a checkpoint holds /dev/shm, which other containers
// of the pod can change.
func sharesMemory(m store.Manifest) bool {
	return slices.ContainsFunc(m.Files, func(f store.File) bool { return strings.HasPrefix(f.Path, "shm/") })
}

// threads counts the threads of a container.
func threads(pid int) int {
	n := 0
	for _, pid := range processes(pid) {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err == nil {
			n += len(entries)
		}
	}
	return n
}
