package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

func TestBackOff(t *testing.T) {
	tests := map[string]struct {
		interval time.Duration
		failures int
		want     time.Duration
	}{
		"First":        {5 * time.Second, 1, 10 * time.Second},
		"Third":        {5 * time.Second, 3, 40 * time.Second},
		"Bounded":      {5 * time.Second, 1000, maxBackOff},
		"LongInterval": {time.Hour, 5, time.Hour},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := backOff(tc.interval, tc.failures); got != tc.want {
				t.Errorf("backOff=%s, want %s", got, tc.want)
			}
		})
	}
}

func TestSuccessEndsBackOff(t *testing.T) {
	w := newWorld(t)
	c := w.container("a", "s1", nil)
	c.policy.Interval = 10 * time.Second
	c.failed("one")
	c.failed("two")
	pause, why := c.pace()
	if pause < 36*time.Second || pause > 44*time.Second || !strings.Contains(why, "2 failures in a row, the last: two") {
		t.Errorf("pause=%s why=%q, want about 40s and the last reason", pause, why)
	}
	c.succeeded(w.checkpoint(c), 0)
	if pause, why := c.pace(); pause > 11*time.Second || why != "the interval" {
		t.Errorf("pause=%s why=%q, want the interval", pause, why)
	}
	select {
	case <-c.recovered:
	default:
		t.Error("the interval trigger is not told")
	}
}

func TestBudget(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var b budget
	if wait := b.take(100, 1000, now); wait != 0 {
		t.Fatalf("the first waits %s", wait)
	}
	if wait := b.take(100, 1, now.Add(4*time.Second)); wait != 6*time.Second {
		t.Errorf("wait=%s, want 6s: 1000 bytes at 100 a second, 4 seconds later", wait)
	}
	b.charge(100, 200, now.Add(4*time.Second))
	if wait := b.take(100, 1, now.Add(4*time.Second)); wait != 8*time.Second {
		t.Errorf("wait=%s, want 8s", wait)
	}
	if wait := b.take(0, 1<<40, now.Add(4*time.Second)); wait != 0 {
		t.Errorf("without a limit it waits %s", wait)
	}
	if wait := b.take(100, 500, now.Add(5*time.Second)); wait != 0 {
		t.Errorf("a debt outlived the limit: %s", wait)
	}
	b.charge(100, -1000, now.Add(5*time.Second))
	b.charge(100, 100, now.Add(5*time.Second))
	if wait := b.take(100, 1, now.Add(5*time.Second)); wait != time.Second {
		t.Errorf("wait=%s, want 1s: nothing can be saved up", wait)
	}
}

// Only the interval can wait; the others count all the same.
func TestBudgetByTrigger(t *testing.T) {
	w := newWorld(t)
	cfg := conf.Default()
	cfg.Limits.Bandwidth = conf.KiB
	w.agent.config.Store(&cfg)
	for _, trigger := range []policy.Trigger{policy.Interval, policy.Request, policy.Stop} {
		if err := w.agent.afford(trigger, 1<<20); err != nil {
			t.Fatalf("%s: %v", trigger, err)
		}
	}
	var s *skip
	if err := w.agent.afford(policy.Interval, 1); !errors.As(err, &s) || s.wait < 3000*time.Second {
		t.Errorf("err=%v, want a wait for three times 1 MiB at 1 KiB a second", err)
	}
}

// A container that has not run since its checkpoint needs none, as long as that
// checkpoint is there, and not for ever.
func TestNeedless(t *testing.T) {
	w := newWorld(t)
	c := w.container("a", "s1", nil)
	c.begin(1, func() {})
	wants := func(what string, used time.Duration, want bool) {
		t.Helper()
		if s := w.agent.needless(c, used); (s != nil) != want {
			t.Errorf("%s: needless=%v, want %t", what, s, want)
		}
	}
	wants("no checkpoint yet", 5, false)
	last := w.checkpoint(c)
	c.succeeded(last, 5)
	wants("it stood still", 5, true)
	wants("it ran", 6, false)
	wants("nobody knows", 0, false)
	c.succeeded(last, 0)
	wants("nobody knew", 0, false)
	c.succeeded(last, 5)
	for range maxNeedless {
		wants("it stands still", 5, true)
	}
	wants("long enough", 5, false)
	c.succeeded(last, 5)
	if err := w.agent.store.Remove(t.Context(), last.ID); err != nil {
		t.Fatal(err)
	}
	wants("the checkpoint is gone", 5, false)
}

// What other containers of the pod can change says nothing about this one.
func TestSharedMemoryNeverStandsStill(t *testing.T) {
	w := newWorld(t)
	c := w.container("a", "s1", nil)
	made := w.checkpoint(c)
	made.Files = append(made.Files, store.File{Path: "shm/ring"})
	c.succeeded(made, 5)
	if s := w.agent.needless(c, 5); s != nil {
		t.Errorf("needless=%v", s)
	}
}

func TestRepeatedSkipIsNoNews(t *testing.T) {
	h := newHistory()
	name := containerName{"default", "a", "app"}
	skipped := Decision{Time: time.Unix(1, 0), Action: ActionCheckpoint, Outcome: Skipped, Reason: "nothing"}
	again := skipped
	again.Time = time.Unix(2, 0)
	taken := Decision{Action: ActionCheckpoint, Outcome: Taken}
	for i, want := range []struct {
		d    Decision
		news bool
	}{{taken, true}, {taken, true}, {skipped, true}, {again, false}, {taken, true}, {skipped, true}} {
		if news := h.add(name, want.d); news != want.news {
			t.Errorf("%d: news=%t, want %t", i, news, want.news)
		}
	}
	if list := h.of(name); len(list) != 5 || !list[2].Time.Equal(again.Time) {
		t.Errorf("history=%v", list)
	}
}

// Containers that start together are not dumped together for ever, and none is
// dumped much more often than it asks for.
func TestJitter(t *testing.T) {
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		d := jitter(time.Minute)
		least, most = min(least, d), max(most, d)
	}
	if least < 54*time.Second || most > 66*time.Second || most-least < 6*time.Second {
		t.Errorf("between %s and %s, want a tenth of a minute to both sides, and use of it", least, most)
	}
}
