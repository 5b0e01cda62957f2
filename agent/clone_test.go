package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

var template = map[string]string{"pod-template-hash": "abc12"}

// clonable records a container of a Deployment that asks for clones, in a pod
// and sandbox of its own.
func (w *world) clonable(n int) *tracked {
	w.Helper()
	return w.clonableIn(n, fmt.Sprint("s", n))
}

func (w *world) clonableIn(n int, sandbox string) *tracked {
	w.Helper()
	t := w.container(fmt.Sprintf("web-abc12-%05d", n), sandbox, template)
	t.policy.Restore = policy.RestoreClone
	return t
}

// readyOf commits what the ready trigger makes of a container.
func (w *world) readyOf(t *tracked) store.Checkpoint {
	w.Helper()
	c := w.checkpointBy(t, policy.Ready)
	w.agent.share(context.Background(), t, c)
	return c
}

func (w *world) marks(c store.Checkpoint) store.Marks {
	w.Helper()
	m, err := w.agent.store.Marks(c.ID)
	if err != nil {
		w.Fatal(err)
	}
	return m
}

// Any number of clones start while their source lives and none has settled; the
// checkpoint is nobody's, and each is told which restore it is.
func TestClones(t *testing.T) {
	w := newWorld(t)
	source := w.clonable(0)
	w.starts(source)
	c := w.readyOf(source)
	for n := 1; n <= 5; n++ {
		clone := w.clonable(n)
		w.starts(clone)
		w.wants(clone, c)
		var ticket api.Ticket
		if err := clone.dir.Read(&ticket); err != nil {
			t.Fatal(err)
		}
		if r := ticket.Restored; r.Restore != n || r.Checkpoint != c.ID || r.Pod != clone.Pod || r.Namespace != "default" {
			t.Errorf("the clone is told %+v, want restore %d of %s", r, n, c.ID)
		}
	}
	if m := w.marks(c); m.ClaimedBy != "" || m.Attempts != 0 || m.Restores != 5 {
		t.Errorf("marks %+v, want no claim, no attempt and 5 restores", m)
	}
}

func TestNoClone(t *testing.T) {
	tests := map[string]struct {
		change func(source, clone *tracked)
		reason string
	}{
		"the clone does not ask":  {func(_, c *tracked) { c.policy.Restore = policy.RestoreAuto }, "still runs"},
		"the source does not ask": {func(s, _ *tracked) { s.policy.Restore = policy.RestoreAuto }, "still runs"},
		"another image":           {func(_, c *tracked) { c.ImageDigest = "sha256:2" }, "another image"},
		"another spec":            {func(_, c *tracked) { c.Fingerprint = "g" }, "spec has changed"},
		"another namespace":       {func(_, c *tracked) { c.Namespace = "other" }, "no checkpoint"},
		"another template": {func(_, c *tracked) {
			c.Labels = map[string]string{"pod-template-hash": "xyz99"}
			c.Pod = "web-xyz99-00001"
		}, "no checkpoint"},
		"a name without its label": {func(_, c *tracked) { c.Labels = nil }, "no checkpoint"},
		"another container":        {func(_, c *tracked) { c.Name = "sidecar" }, "no checkpoint"},
		"restore: never":           {func(_, c *tracked) { c.policy.Restore = policy.RestoreNever }, "switched off"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			source, clone := w.clonable(0), w.clonable(1)
			tt.change(source, clone)
			var err error
			if clone.lineage, err = lineageOf(clone.Facts); err != nil {
				t.Fatal(err)
			}
			w.starts(source)
			w.readyOf(source)
			w.starts(clone)
			w.cold(clone, tt.reason)
		})
	}
}

// Only what the ready trigger made is cloned, and what a pod has come to by
// itself goes before it.
func TestOwnCheckpointsGoBeforeClones(t *testing.T) {
	w := newWorld(t)
	one, two := w.clonable(1), w.clonable(2)
	w.starts(one)
	w.starts(two)
	own := w.checkpoint(two)
	w.readyOf(one)
	w.checkpoint(one)
	w.ends(two, killed)
	again := w.clonableIn(2, "s2")
	w.starts(again)
	w.wants(again, own)
}

// I5: a checkpoint of which clones die is given up, but not because several
// start at once.
func TestClonesThatDie(t *testing.T) {
	w := newWorld(t)
	source := w.clonable(0)
	w.starts(source)
	c := w.readyOf(source)
	bad := w.clonable(1)
	w.starts(bad)
	w.wants(bad, c)
	w.ends(bad, killed)
	again := w.clonableIn(1, "s1")
	w.starts(again)
	w.cold(again, "did not settle")
	other := w.clonable(2)
	w.starts(other)
	w.wants(other, c)
	w.ends(other, killed)
	if m := w.marks(c); m.Attempts != 2 {
		t.Errorf("%d attempts, want 2", m.Attempts)
	}
	last := w.clonable(3)
	w.starts(last)
	w.cold(last, "did not settle")
}

func TestClonesThatAreStopped(t *testing.T) {
	w := newWorld(t)
	source := w.clonable(0)
	w.starts(source)
	c := w.readyOf(source)
	for n := 1; n <= 4; n++ {
		clone := w.clonable(n)
		w.starts(clone)
		w.wants(clone, c)
		w.gone(clone, api.Exit{Status: 143, Asked: true})
	}
	if m := w.marks(c); m.Attempts != 0 {
		t.Errorf("%d attempts after pods were deleted, want 0", m.Attempts)
	}
	hung := w.clonable(5)
	w.starts(hung)
	w.ends(hung, api.Exit{Status: 137, Asked: true})
	again := w.clonableIn(5, "s5")
	w.starts(again)
	w.cold(again, "did not settle")
	if m := w.marks(c); m.Attempts != 1 {
		t.Errorf("%d attempts after a failed liveness probe, want 1", m.Attempts)
	}
}

// A daemon that starts anew finds ended clones again, and counts none twice.
func TestClonesAreChargedOnce(t *testing.T) {
	tests := map[string]struct {
		lived time.Duration
		want  int
	}{
		"died early":      {time.Second, 1},
		"died after long": {time.Hour, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			source, clone := w.clonable(0), w.clonable(1)
			clone.dir = api.ContainerDir(filepath.Join(t.TempDir(), clone.ID))
			if err := clone.dir.Make(); err != nil {
				t.Fatal(err)
			}
			w.starts(source)
			c := w.readyOf(source)
			w.starts(clone)
			w.ends(clone, api.Exit{Status: 137, At: clone.Created.Add(tt.lived)})
			for range 3 {
				if err := clone.save(); err != nil {
					t.Fatal(err)
				}
				known, err := loadTracked(clone.dir)
				if err != nil {
					t.Fatal(err)
				}
				w.agent.track(known)
				w.agent.Stopped(context.Background(), known.ID)
			}
			if m := w.marks(c); m.Attempts != tt.want {
				t.Errorf("%d attempts, want %d", m.Attempts, tt.want)
			}
		})
	}
}

// A start has done no work that could be done twice.
func TestCompletedRunLeavesItsStart(t *testing.T) {
	w := newWorld(t)
	source := w.clonable(0)
	w.starts(source)
	start, interval := w.readyOf(source), w.checkpoint(source)
	w.gone(source, api.Exit{Status: 0})
	if w.marks(start).Completed || !w.marks(interval).Completed {
		t.Errorf("completed: %t and %t, want only what came after the start", w.marks(start).Completed, w.marks(interval).Completed)
	}
	next := w.clonable(1)
	w.starts(next)
	w.wants(next, start)
}

// I3: checkpoints of the ready trigger and the others do not push each other
// out, and each kind has a bound.
func TestStartsAreKeptApart(t *testing.T) {
	w := newWorld(t)
	source := w.clonable(0)
	w.starts(source)
	source.settled.Store(true)
	start := w.readyOf(source)
	for range 5 {
		w.checkpoint(source)
		w.agent.retire(context.Background(), source)
	}
	if _, err := w.agent.store.Get(start.ID); err != nil {
		t.Errorf("the start was pushed out: %v", err)
	}
	for range 4 {
		w.readyOf(source)
		w.agent.retire(context.Background(), source)
	}
	list, err := w.agent.store.List(source.lineage)
	if err != nil {
		t.Fatal(err)
	}
	starts, others := ofReady(list)
	if len(starts) != startsKept || len(others) != 3 {
		t.Errorf("%d starts and %d others are kept, want %d and 3", len(starts), len(others), startsKept)
	}
}

// What replicas start from stays while one of them lives.
func TestPruneLeavesStarts(t *testing.T) {
	w := newWorld(t)
	source, clone := w.clonable(0), w.clonable(1)
	w.starts(source)
	c := w.readyOf(source)
	w.starts(clone)
	w.gone(source, killed)
	late := time.Now().Add(30 * 24 * time.Hour)
	w.agent.prune(context.Background(), late)
	if _, err := w.agent.store.Get(c.ID); err != nil {
		t.Errorf("pruned while a clone lives: %v", err)
	}
	w.gone(clone, killed)
	w.agent.prune(context.Background(), late)
	if _, err := w.agent.store.Get(c.ID); err == nil {
		t.Error("kept for ever when all are gone")
	}
}

// A replica that may be the successor of one that is being deleted waits for its
// memory as any other does, and is cloned only when there is none.
func TestSuccessionGoesBeforeClones(t *testing.T) {
	clonable := func(w *world, name string) *tracked {
		c := w.replica(name, policy.Ready, policy.Stop)
		c.policy.Restore = policy.RestoreClone
		return c
	}
	t.Run("one that is told to stop gives its last checkpoint", func(t *testing.T) {
		w := newWorld(t)
		source, old := clonable(w, "aaaaa"), clonable(w, "bbbbb")
		w.starts(source)
		w.starts(old)
		w.readyOf(source)
		w.clock = w.clock.Add(time.Minute) // the pods are not of one roll-out
		next := clonable(w, "ccccc")
		var last store.Checkpoint
		defer later(func() {
			w.told(old)
			last = w.checkpointBy(old, policy.Stop)
			old.stopOver.Store(true)
		})()
		w.starts(next)
		w.wants(next, last)
	})
	t.Run("none stops", func(t *testing.T) {
		w := newWorld(t)
		source := clonable(w, "aaaaa")
		w.starts(source)
		c := w.readyOf(source)
		w.clock = w.clock.Add(time.Minute)
		next := clonable(w, "bbbbb")
		w.starts(next)
		w.wants(next, c)
	})
	t.Run("without the stop trigger there is nothing to wait for", func(t *testing.T) {
		w := newWorld(t)
		source, next := w.clonable(0), w.clonable(1)
		w.starts(source)
		w.readyOf(source)
		choice, err := w.agent.choose(context.Background(), next)
		if err != nil || choice.worthWaiting() {
			t.Errorf("waits: %t, %v", choice.worthWaiting(), err)
		}
	})
}
