package agent

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
)

// farewellWorld is a world whose stops are held back shortly. Its containers have
// no shim, so a checkpoint that is tried fails with ErrNoShim.
func farewellWorld(t *testing.T, budget time.Duration) (*world, []*tracked) {
	t.Helper()
	w := newWorld(t)
	cfg := conf.Default()
	cfg.Limits.StopBudget = conf.Duration{Duration: budget}
	w.agent.Reload(cfg)
	lead, follow := w.pair("web-0", "s1", nil)
	for _, c := range []*tracked{lead, follow} {
		c.policy.On = []policy.Trigger{policy.Stop, policy.Request}
		if err := c.dir.Discard(&api.Attach{}); err != nil {
			t.Fatal(err)
		}
	}
	return w, []*tracked{lead, follow}
}

func (w *world) lastReason(t *tracked) Decision {
	w.Helper()
	list := w.agent.history.of(nameOf(t.Facts))
	if len(list) == 0 {
		w.Fatalf("nothing was decided about %s", t.Name)
	}
	return list[0]
}

func TestFarewellWaitsForAll(t *testing.T) {
	w, set := farewellWorld(t, time.Minute)
	var group sync.WaitGroup
	errs := make([]error, len(set))
	for i, c := range set {
		group.Go(func() { _, errs[i] = w.agent.Stopping(t.Context(), c.ID) })
	}
	group.Wait()
	for i, c := range set {
		// It came to the dump, for both at once.
		if !errors.Is(errs[i], ErrNoShim) {
			t.Errorf("%s: %v, want ErrNoShim", c.Name, errs[i])
		}
		if d := w.lastReason(c); d.Trigger != policy.Stop || d.Class != ClassHandler {
			t.Errorf("%s: decision %+v", c.Name, d)
		}
		if !c.stopOver.Load() {
			t.Errorf("%s: the stop is not over", c.Name)
		}
	}
}

func TestFarewellOfOneAlone(t *testing.T) {
	w, set := farewellWorld(t, 200*time.Millisecond)
	began := time.Now()
	_, err := w.agent.Stopping(t.Context(), set[1].ID)
	var s *skip
	if !errors.As(err, &s) || s.class != ClassSet || w.lastReason(set[1]).Outcome != Skipped {
		t.Fatalf("%v, want a skip because the other is not being stopped", err)
	}
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("gave up after %s, want half the budget", took)
	}
	// Who comes later does not wait for the one that has its signal.
	cfg := w.agent.Config()
	cfg.Limits.StopBudget = conf.Duration{Duration: time.Hour}
	w.agent.Reload(cfg)
	began = time.Now()
	if _, err = w.agent.Stopping(t.Context(), set[0].ID); !errors.As(err, &s) || time.Since(began) > time.Second {
		t.Errorf("%v after %s, want a skip at once", err, time.Since(began))
	}
}

// Who gives up does so for all.
func TestFarewellThatIsGivenUp(t *testing.T) {
	w, set := farewellWorld(t, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	// The turn of the pod's dumps is taken, so both wait.
	if err := set[0].pod.take(ctx, true); err != nil {
		t.Fatal(err)
	}
	set[1].pod = set[0].pod
	var group sync.WaitGroup
	errs := make([]error, len(set))
	group.Go(func() { _, errs[0] = w.agent.Stopping(ctx, set[0].ID) })
	group.Go(func() { _, errs[1] = w.agent.Stopping(t.Context(), set[1].ID) })
	time.AfterFunc(100*time.Millisecond, cancel)
	group.Wait()
	for i, c := range set {
		if errs[i] == nil {
			t.Errorf("%s: no error", c.Name)
		}
	}
}
