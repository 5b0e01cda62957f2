package agent

import (
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/store"
)

func TestPressureDue(t *testing.T) {
	const limit = 100 << 20
	type look struct {
		after time.Duration
		used  int64 // MiB
		want  bool
	}
	tests := map[string][]look{
		"Low":           {{0, 79, false}},
		"Crossing":      {{0, 79, false}, {time.Second, 80, true}},
		"Flat":          {{0, 80, true}, {time.Hour, 80, false}},
		"RisingTooSoon": {{0, 80, true}, {59 * time.Second, 90, false}},
		"HardlyRising":  {{0, 80, true}, {time.Minute, 84, false}},
		"Rising":        {{0, 80, true}, {time.Minute, 85, true}},
		"FallenAndBack": {{0, 90, true}, {time.Minute, 50, false}, {time.Second, 85, true}},
		"BackTooSoon":   {{0, 90, true}, {time.Second, 50, false}, {time.Second, 85, false}, {time.Minute, 85, true}},
	}
	for name, looks := range tests {
		t.Run(name, func(t *testing.T) {
			var p pressure
			now := time.Unix(1_700_000_000, 0)
			for i, l := range looks {
				now = now.Add(l.after)
				if got := p.due(l.used<<20, limit, 80, time.Minute, now); got != l.want {
					t.Errorf("look %d at %d MiB: due=%t, want %t", i, l.used, got, l.want)
				}
			}
		})
	}
	var p pressure
	now := time.Unix(1_700_000_000, 0)
	p.due(80<<20, limit, 80, time.Minute, now)
	p.again(now.Add(2 * time.Second))
	for i, l := range []look{{time.Second, 80, false}, {time.Second, 80, true}, {58 * time.Second, 90, false}} {
		now = now.Add(l.after)
		if got := p.due(l.used<<20, limit, 80, time.Minute, now); got != l.want {
			t.Errorf("after a failure, look %d: due=%t, want %t", i, got, l.want)
		}
	}
	restored := pressure{used: 90 << 20}
	for i, l := range []look{{0, 90, false}, {time.Second, 94, false}, {time.Second, 95, true}} {
		now = now.Add(l.after)
		if got := restored.due(l.used<<20, limit, 80, time.Minute, now); got != l.want {
			t.Errorf("after a restore, look %d: due=%t, want %t", i, got, l.want)
		}
	}
	if p.due(1<<40, 0, 80, time.Minute, time.Now()) {
		t.Error("due without a limit")
	}
}

func TestTooLate(t *testing.T) {
	w := newWorld(t)
	c := w.container("a", "s1", nil)
	if s := w.agent.tooLate(c, 80<<20, 100<<20); s == nil || s.class != ClassUnsettled {
		t.Errorf("unsettled: %v", s)
	}
	c.settled.Store(true)
	if s := w.agent.tooLate(c, 80<<20, 100<<20); s != nil {
		t.Errorf("with 20 MiB left: %v", s)
	}
	if s := w.agent.tooLate(c, 95<<20, 100<<20); s == nil || s.class != ClassMemory {
		t.Errorf("with 5 MiB left: %v", s)
	}
}

// A leak that is in a checkpoint comes back with it, even if it takes longer than
// it takes to settle: I5.
func TestLoopGuardAfterOOM(t *testing.T) {
	w := newWorld(t)
	cfg := w.agent.Config()
	cfg.Limits.Settle.Duration = 0
	w.agent.config.Store(&cfg)
	a := w.container("redis-0", "s1", nil)
	w.starts(a)
	only := w.checkpoint(a)
	for _, want := range []store.Checkpoint{only, only, {}} {
		w.ends(a, api.Exit{Status: 137, OOM: true})
		a = w.container("redis-0", "s1", nil)
		w.starts(a)
		w.wants(a, want)
		if want.ID != "" {
			w.agent.awaitSettled(t.Context(), a)
		}
	}
	w.cold(a, "restored 2 times")
}
