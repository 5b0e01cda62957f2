package agent

import (
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// replica records a container of a Deployment's pod.
func (w *world) replica(name string, on ...policy.Trigger) *tracked {
	w.Helper()
	t := w.container("web-5d8f7c9b4d-"+name, "sandbox-"+name, map[string]string{"pod-template-hash": "5d8f7c9b4d"})
	t.policy.On = on
	return t
}

// patient returns a world in which successors wait so long.
func patient(t *testing.T, wait time.Duration) *world {
	t.Helper()
	w := newWorld(t)
	cfg := w.agent.Config()
	cfg.Limits.SuccessorWait.Duration = wait
	w.agent.Reload(cfg)
	return w
}

// longWait is longer than any pause of the machine on which a test runs.
const longWait = 20 * time.Second

// told notes that a container got its stop signal, as its shim would.
func (w *world) told(t *tracked) {
	w.Helper()
	if err := t.dir.Write(&api.Stop{Signal: 15, At: time.Now()}); err != nil {
		w.Error(err)
	}
}

// later does something while the test waits for a ticket.
func later(do func()) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(5 * successionPoll)
		do()
	}()
	return func() { <-done }
}

func TestSuccession(t *testing.T) {
	t.Run("a replica that is told to stop after its successor was created gives it its memory", func(t *testing.T) {
		w := patient(t, longWait)
		old := w.replica("aaaaa")
		w.starts(old)
		c := w.checkpoint(old)
		next := w.replica("bbbbb")
		defer later(func() { w.told(old) })()
		w.starts(next)
		w.wants(next, c)
	})

	t.Run("while all replicas run on, one that is added waits, and starts cold", func(t *testing.T) {
		w := patient(t, 200*time.Millisecond)
		old := w.replica("aaaaa")
		w.starts(old)
		w.checkpoint(old)
		next := w.replica("bbbbb")
		began := time.Now()
		w.starts(next)
		w.cold(next, "still runs; waited")
		if waited := time.Since(began); waited < 200*time.Millisecond {
			t.Errorf("waited %s", waited)
		}
	})

	t.Run("the checkpoint that is made before the stop goes before an older one", func(t *testing.T) {
		w := patient(t, longWait)
		old := w.replica("aaaaa", policy.Stop)
		w.starts(old)
		w.checkpoint(old)
		w.told(old)
		next := w.replica("bbbbb")
		var last store.Checkpoint
		defer later(func() {
			last = w.checkpoint(old)
			old.stopOver.Store(true)
		})()
		w.starts(next)
		w.wants(next, last)
	})

	t.Run("a checkpoint before the stop that does not come leaves the older one", func(t *testing.T) {
		w := patient(t, longWait)
		old := w.replica("aaaaa", policy.Stop)
		w.starts(old)
		c := w.checkpoint(old)
		w.told(old)
		next := w.replica("bbbbb")
		defer later(func() { old.stopOver.Store(true) })()
		w.starts(next)
		w.wants(next, c)
	})

	t.Run("a replica with the stop trigger is waited for, although it has no checkpoint yet", func(t *testing.T) {
		w := patient(t, longWait)
		old := w.replica("aaaaa", policy.Stop)
		w.starts(old)
		w.clock = w.clock.Add(time.Minute)
		next := w.replica("bbbbb", policy.Stop)
		var last store.Checkpoint
		defer later(func() {
			w.told(old)
			time.Sleep(5 * successionPoll)
			last = w.checkpoint(old)
			old.stopOver.Store(true)
		})()
		w.starts(next)
		w.wants(next, last)
	})

	t.Run("the first replicas of a roll-out do not wait for one another", func(t *testing.T) {
		w := newWorld(t)
		w.starts(w.replica("aaaaa", policy.Stop))
		next := w.replica("bbbbb", policy.Stop)
		if wait := w.agent.assign(t.Context(), next); wait != 0 {
			t.Errorf("waits %s", wait)
		}
		w.cold(next, "there is no checkpoint yet")
	})

	t.Run("of two that wait for one replica only one gets its memory", func(t *testing.T) {
		w := patient(t, longWait)
		old := w.replica("aaaaa")
		w.starts(old)
		c := w.checkpoint(old)
		both := []*tracked{w.replica("bbbbb"), w.replica("ccccc")}
		defer later(func() { w.told(old) })()
		ended := later(func() { w.starts(both[0]) })
		w.starts(both[1])
		ended()
		restored := 0
		for _, next := range both {
			if next.RestoredFrom == c.ID {
				restored++
			}
		}
		if restored != 1 {
			t.Errorf("%d were restored, want 1", restored)
		}
	})

	t.Run("without limits.successor_wait nothing waits", func(t *testing.T) {
		w := patient(t, 0)
		old := w.replica("aaaaa", policy.Stop)
		w.starts(old)
		w.checkpoint(old)
		next := w.replica("bbbbb")
		if wait := w.agent.assign(t.Context(), next); wait != 0 {
			t.Errorf("waits %s", wait)
		}
		w.cold(next, "still runs")
	})

	t.Run("the wait and a restore fit into the time for a create", func(t *testing.T) {
		w := newWorld(t)
		cfg := w.agent.Config()
		cfg.Limits.RestoreTimeout.Duration = 89 * time.Second
		w.agent.Reload(cfg)
		if got := w.agent.longestWait(); got != time.Second {
			t.Errorf("waits up to %s", got)
		}
	})
}
