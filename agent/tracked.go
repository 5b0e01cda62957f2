package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// factsFile keeps a container's facts in its run directory, so that a daemon
// that was restarted still knows whose exit record lies there.
const factsFile = "facts.json"

// errForeign is returned for facts that do not belong to where they are.
var errForeign = errors.New("not this container's facts")

// errNoFacts is returned for a run directory that has none.
var errNoFacts = errors.New("there are no facts about a container")

// tracked is a managed container the daemon knows, alive or ended.
type tracked struct {
	Facts
	Created time.Time `json:"created"`
	// RestoredFrom is the checkpoint that a ticket was issued for.
	RestoredFrom string `json:"restored_from,omitempty"`
	// ClaimedBefore is who had claimed that checkpoint until then.
	ClaimedBefore string `json:"claimed_before,omitempty"`
	// Cloned is set when that checkpoint was not claimed: others may be restored
	// from it at the same time.
	Cloned bool `json:"cloned,omitempty"`
	// Charged is set when that clone was counted against the checkpoint.
	Charged bool `json:"charged,omitempty"`
	// Warm is set when the ready trigger is through with the container.
	Warm bool `json:"warm,omitempty"`
	// AfterOOM is set when the container before this one ran out of memory.
	AfterOOM bool `json:"after_oom,omitempty"`
	// Cause says in words what the container was created after.
	Cause string `json:"cause,omitempty"`

	// replaces is the sandbox that is gone when this container is created, where
	// it is only asked what would become of it.
	replaces string

	lineage store.Lineage
	policy  policy.Policy
	dir     api.ContainerDir

	// pod is taken during a checkpoint; all containers of the sandbox share it.
	pod *turns
	// recovered tells the interval trigger to begin its interval again.
	recovered chan struct{}
	// settled is set when the container was not restored, or has lived long
	// enough since.
	settled atomic.Bool
	// pardoned is set while the container's restore is not counted against its
	// checkpoint, although the container did not settle.
	pardoned atomic.Bool

	// stopOver is set when the checkpoint before the container's stop was made, or
	// given up.
	stopOver atomic.Bool
	// warmed is set when the container is ready, for others that are checkpointed
	// with it.
	warmed atomic.Bool
	// preflight is the newest one of the container; nil before its first dump.
	preflight atomic.Pointer[preflight]
	// vigil shows how idle the container is; nil while nobody watches for that.
	vigil atomic.Pointer[vigil]
	// execProbes are those of its pod's spec; nil until they are known.
	execProbes atomic.Pointer[[]*api.Command]
	// late is the last preflight that the kernel did not answer in time; there is no
	// other one of this container before it has ended.
	late atomic.Pointer[criu.Late]

	mu   sync.Mutex
	pid  int
	stop context.CancelFunc
	// next is when the interval trigger fires, and nextWhy why then.
	next    time.Time
	nextWhy string
	// made is when the last checkpoint was durable, and last what it showed.
	made time.Time
	last standstill
	// asked counts how often last was looked at.
	asked int
	// failures counts the dumps that failed since; failure is the last reason.
	failures int
	failure  string
	// lease gives up the hold on the checkpoint of a ticket whose outcome is not
	// known; nil when there is none.
	lease func()
	// requested is a digest of the last value seen of the request annotation,
	// answered is when a checkpoint was last made for one.
	requested string
	answered  time.Time
	// suspension is what the shim last noted of the container's sleep, and falling
	// is set while it is being suspended.
	suspension api.Suspension
	falling    bool
	// fell is when it was last seen to fall asleep, and turned is closed when that
	// changes; nil while nobody waits for it.
	fell   time.Time
	turned chan struct{}
	// dumping is the CPU time that dumps have used within the container.
	dumping time.Duration
	// awaiting says, until the shim has asked again for a ticket, why there is
	// none yet.
	awaiting string
}

// await notes that a ticket may still come, and why there is none yet.
func (t *tracked) await(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.awaiting = reason
}

// awaited returns, once, why there was no ticket yet; it is empty when none may
// come.
func (t *tracked) awaited() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	reason := t.awaiting
	t.awaiting = ""
	return reason
}

func newTracked() *tracked { return &tracked{pod: newTurns(1), recovered: make(chan struct{}, 1)} }

// save writes the facts into the run directory.
func (t *tracked) save() error {
	data, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode facts: %w", err)
	}
	return t.dir.WriteFile(factsFile, data)
}

func loadTracked(dir api.ContainerDir) (*tracked, error) {
	data, err := os.ReadFile(filepath.Join(string(dir), factsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoFacts
	}
	if err != nil {
		return nil, fmt.Errorf("read facts: %w", err)
	}
	t := newTracked()
	t.dir = dir
	if err := json.Unmarshal(data, t); err != nil {
		return nil, fmt.Errorf("decode facts: %w", err)
	}
	if t.ID != filepath.Base(string(dir)) {
		return nil, fmt.Errorf("decode facts: %w: they are those of container %.160q", errForeign, t.ID)
	}
	if t.lineage, err = lineageOf(t.Facts); err != nil {
		return nil, err
	}
	t.pardoned.Store(t.Cloned && !t.Charged)
	return t, nil
}

// exit returns how the container ended; nil while nothing is recorded.
func (t *tracked) exit() *api.Exit {
	var e api.Exit
	if t.dir.Read(&e) != nil {
		return nil
	}
	return &e
}

// stopping tells whether the runtime was asked to stop the container.
func (t *tracked) stopping() bool {
	var s api.Stop
	return t.dir.Read(&s) == nil
}

// running returns the host's id of the init; 0 when the container does not run,
// or sleeps.
func (t *tracked) running() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pid
}

// due returns when the interval trigger fires next, and why then.
func (t *tracked) due() (time.Time, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next, t.nextWhy
}

// plan notes when the interval trigger fires next.
func (t *tracked) plan(next time.Time, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next, t.nextWhy = next, why
}

// lastMade returns when the container's last checkpoint was durable.
func (t *tracked) lastMade() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.made
}

// stoodStill returns what the last checkpoint showed, and how often it was asked
// for since.
func (t *tracked) stoodStill() (last standstill, times int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked++
	return t.last, t.asked
}

// begin notes the start of the container and of what runs on its behalf.
func (t *tracked) begin(pid int, stop context.CancelFunc) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop != nil {
		t.stop() // told twice, by the event and by a synchronization
	}
	t.pid = pid
	t.stop = stop
}

// end notes that the container does not run any more.
func (t *tracked) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pid = 0
	t.suspension.Asleep = false
	t.next, t.nextWhy = time.Time{}, ""
	if t.stop != nil {
		t.stop()
		t.stop = nil
	}
}

func sortNewest(list []*tracked) {
	slices.SortFunc(list, func(a, b *tracked) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.ID, a.ID)) })
}

// recordedContainers reads what earlier daemons left in the run directory.
// Directories that cannot be read are reported and left alone.
func recordedContainers(report func(dir string, err error)) []*tracked {
	root := filepath.Join(api.RunDir, "containers")
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		report(root, err)
	}
	var list []*tracked
	for _, e := range entries {
		dir, err := api.ContainerDirOf(e.Name())
		if err == nil {
			var t *tracked
			if t, err = loadTracked(dir); err == nil {
				list = append(list, t)
				continue
			}
		}
		report(filepath.Join(root, e.Name()), err)
	}
	return list
}
