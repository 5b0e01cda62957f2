package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// runs has a recorded container run, as Started would.
func (w *world) runs(t *tracked, pid int) {
	w.Helper()
	_, stop := context.WithCancel(context.Background())
	w.Cleanup(stop)
	t.begin(pid, stop)
	t.settled.Store(true)
}

// shimNotes is what the shim writes down of a container's sleep.
func (w *world) shimNotes(t *tracked, s api.Suspension) {
	w.Helper()
	if err := t.dir.Write(&s); err != nil {
		w.Fatal(err)
	}
	w.agent.noteSuspension(t)
}

func TestSuspendedContainer(t *testing.T) {
	w := newWorld(t)
	c := w.container("web-0", "s1", nil)
	w.runs(c, 100)
	bed := w.checkpointBy(c, policy.Idle)
	for range 5 {
		w.checkpoint(c)
	}
	w.shimNotes(c, api.Suspension{Asleep: true, Since: time.Now(), Checkpoint: bed.ID, Pid: 100, Times: 1})

	if c.running() != 0 || !c.asleep() {
		t.Errorf("running %d, asleep %t", c.running(), c.asleep())
	}
	if running, asleep, _ := w.agent.watched(); running != 0 || asleep != 1 {
		t.Errorf("%d run and %d sleep, by the gauges", running, asleep)
	}
	w.agent.retire(context.Background(), c)
	if err := w.agent.store.Remove(context.Background(), bed.ID); !errors.Is(err, store.ErrInUse) {
		t.Errorf("the checkpoint that it sleeps in was removed: %v", err)
	}
	if got := NewControl(w.agent).state(bed.ID); got != "asleep" {
		t.Errorf("the checkpoint's state is %s", got)
	}
	if err := w.agent.Suspend(context.Background(), c.ID, "again"); err != nil {
		t.Errorf("one that sleeps is left as it is: %v", err)
	}

	w.shimNotes(c, api.Suspension{Checkpoint: bed.ID, Pid: 200, Times: 1, Since: time.Now(), Wake: &api.Wake{Reason: "an exec session", At: time.Now(), Took: time.Second}})
	if c.running() != 200 || c.asleep() {
		t.Errorf("running %d, asleep %t after the wake", c.running(), c.asleep())
	}
	if r := c.describeSuspension(); r.Asleep || r.WokenBy != "an exec session" || r.Times != 1 {
		t.Errorf("explain says %v", r)
	}
	if err := w.agent.store.Remove(context.Background(), bed.ID); err != nil {
		t.Errorf("the checkpoint is kept after the wake: %v", err)
	}

	// What the shim notes at the very end does not bring the dead back.
	c.end()
	w.shimNotes(c, api.Suspension{Checkpoint: bed.ID, Pid: 200})
	if c.running() != 0 {
		t.Error("a container that has ended runs")
	}
}

func TestWakeful(t *testing.T) {
	tests := map[string]struct {
		make func(*world, *tracked)
		want Class
	}{
		"Runs":      {func(*world, *tracked) {}, ""},
		"Ended":     {func(_ *world, c *tracked) { c.end() }, ClassEnded},
		"Unsettled": {func(_ *world, c *tracked) { c.settled.Store(false) }, ClassUnsettled},
		"Stopping": {func(w *world, c *tracked) {
			if err := c.dir.Write(&api.Stop{Signal: 15}); err != nil {
				w.Fatal(err)
			}
		}, ClassEnded},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.container("web-0", "s1", nil)
			w.runs(c, 100)
			tc.make(w, c)
			var got Class
			if s := c.wakeful(); s != nil {
				got = s.class
			}
			if got != tc.want {
				t.Errorf("class %q, want %q", got, tc.want)
			}
		})
	}
}

// Nobody but the shim of a container that is being suspended gets a checkpoint to
// let it sleep in, and no container is suspended twice at once.
func TestSuspendingOnlyWhenAsked(t *testing.T) {
	w := newWorld(t)
	c := w.container("web-0", "s1", nil)
	w.runs(c, 100)
	if _, err := w.agent.Suspending(context.Background(), c.ID, "x"); !errors.Is(err, errNotSuspending) {
		t.Errorf("error %v", err)
	}
	if _, err := w.agent.Suspending(context.Background(), "other", "x"); !errors.Is(err, errNotSuspending) {
		t.Errorf("error %v", err)
	}
	if !c.fallAsleep() || c.fallAsleep() {
		t.Error("it can be suspended once at a time")
	}
}

// A container may be suspended again before the daemon has heard that it woke.
func TestWokenWhileFallingAsleep(t *testing.T) {
	w := newWorld(t)
	c := w.container("web-0", "s1", nil)
	w.runs(c, 100)
	c.fallAsleep()
	c.sleepIn("bed")
	w.shimNotes(c, api.Suspension{Checkpoint: "last", Pid: 200, Times: 1, Since: time.Now(), Wake: &api.Wake{Reason: "data"}})
	if !c.fallsAsleep() || !c.sleepsIn("bed") {
		t.Errorf("falls asleep %t, in its checkpoint %t", c.fallsAsleep(), c.sleepsIn("bed"))
	}
	if c.fallen(); c.fallsAsleep() || c.sleepsIn("bed") || !c.fallAsleep() {
		t.Error("the suspension has no end")
	}
}
