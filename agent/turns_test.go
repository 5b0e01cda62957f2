package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/policy"
)

// A stop waits for the dump that is under way, but not for those that wait.
func TestUrgentGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTurns(1)
		if err := q.take(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		var order []string
		wait := func(name string, urgent bool) {
			go func() {
				if err := q.take(t.Context(), urgent); err == nil {
					order = append(order, name)
					q.give()
				}
			}()
			synctest.Wait()
		}
		wait("interval", false)
		wait("request", false)
		wait("stop", true)
		q.give()
		synctest.Wait()
		if got, want := strings.Join(order, " "), "stop interval request"; got != want {
			t.Fatalf("order=%q, want %q", got, want)
		}
	})
}

func TestGivenUpTurnIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTurns(1)
		_ = q.take(t.Context(), false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := q.take(ctx, true); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("err=%v, want the deadline", err)
		}
		q.give()
		if err := q.take(t.Context(), false); err != nil || len(q.urgent) != 0 {
			t.Fatalf("err=%v, waiting=%d: the turn was lost", err, len(q.urgent))
		}
	})
}

// The containers of one pod are never dumped at the same time, others are.
func TestTurnOfPod(t *testing.T) {
	w := newWorld(t)
	one, same, other := w.container("a", "s1", nil), w.container("a", "s1", nil), w.container("b", "s2", nil)
	for _, c := range []*tracked{one, same, other} {
		c.begin(1, func() {})
	}
	w.agent.dumps = newTurns(3)
	release, err := w.agent.turn(t.Context(), one, policy.Interval)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.agent.turn(t.Context(), other, policy.Interval); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	var s *skip
	if _, err := w.agent.turn(ctx, same, policy.Stop); !errors.As(err, &s) || !strings.Contains(s.reason, "of this pod") {
		t.Fatalf("err=%v, want a skip for the pod's other dump", err)
	}
	release()
	if _, err := w.agent.turn(t.Context(), same, policy.Interval); err != nil {
		t.Fatal(err)
	}
}

func TestTurnIsBounded(t *testing.T) {
	w := newWorld(t)
	c := w.container("a", "s1", nil)
	c.begin(1, func() {})
	w.agent.dumps = newTurns(0)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	var s *skip
	if _, err := w.agent.turn(ctx, c, policy.Request); !errors.As(err, &s) || !strings.Contains(s.reason, "limits.concurrent_dumps") {
		t.Fatalf("err=%v, want a skip for the node's limit", err)
	}
}

// Who waited may find that there is nothing left to do.
func TestSuperseded(t *testing.T) {
	tests := map[string]struct {
		trigger policy.Trigger
		before  func(*world, *tracked)
		want    string
	}{
		"OK":                {policy.Interval, func(*world, *tracked) {}, ""},
		"Ended":             {policy.Request, func(_ *world, c *tracked) { c.end() }, "ended meanwhile"},
		"IntervalWhileStop": {policy.Interval, func(w *world, c *tracked) { w.write(c, &api.Stop{}) }, "being stopped"},
		"RequestWhileStop":  {policy.Request, func(w *world, c *tracked) { w.write(c, &api.Stop{}) }, ""},
		"JustMade":          {policy.Interval, func(w *world, c *tracked) { c.succeeded(w.checkpoint(c), 0) }, "another trigger"},
		"RequestJustMade":   {policy.Request, func(w *world, c *tracked) { c.succeeded(w.checkpoint(c), 0) }, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.container("a", "s1", nil)
			c.begin(1, func() {})
			asked := time.Now()
			tc.before(w, c)
			got := ""
			if s := c.superseded(tc.trigger, asked); s != nil {
				got = s.reason
			}
			if !strings.Contains(got, tc.want) || (got == "") != (tc.want == "") {
				t.Errorf("superseded=%q, want %q", got, tc.want)
			}
		})
	}
}

func (w *world) write(t *tracked, r *api.Stop) {
	w.Helper()
	if err := t.dir.Write(r); err != nil {
		w.Fatal(err)
	}
}
