package agent

import (
	"context"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
)

// asking is a world in which requests by annotation are counted. There is no
// shim, so that each one that is answered fails.
type asking struct {
	*world
	observed
}

func newAsking(t *testing.T) *asking {
	w := &asking{world: newWorld(t)}
	cfg := w.agent.Config()
	cfg.Bounds.IntervalMin = conf.Duration{}
	w.agent.Reload(cfg)
	w.agent.Observe(w)
	w.agent.once.Do(func() { close(w.agent.synchronized) })
	return w
}

// asks gives the request annotation a value and returns how many checkpoints
// that led to.
func (w *asking) asks(t *tracked, value string) int {
	w.Helper()
	w.decisions = nil
	w.agent.Asked(context.Background(), t.Namespace, t.Pod, t.PodUID, map[string]string{"rekindle.dev/request": value}, true)
	n := 0
	for _, d := range w.decisions {
		if d.Trigger == policy.Request && d.Outcome == Failed {
			n++
		}
	}
	return n
}

func (w *asking) wantsAsked(t *tracked, value string, n int) {
	w.Helper()
	if got := w.asks(t, value); got != n {
		w.Errorf("value %q: %d checkpoints, want %d; decisions %+v", value, got, n, w.decisions)
	}
}

func TestEachNewValueAsksOnce(t *testing.T) {
	w := newAsking(t)
	c := w.container("pod", "s1", nil)
	c.begin(1, func() {})
	w.wantsAsked(c, "", 0)
	w.wantsAsked(c, "one", 1)
	w.wantsAsked(c, "one", 0)
	w.wantsAsked(c, "", 0)
	w.wantsAsked(c, "one", 0)
	w.wantsAsked(c, "two", 1)

	restarted := newTracked()
	restarted.Facts, restarted.dir, restarted.policy, restarted.lineage = c.Facts, c.dir, c.policy, c.lineage
	restarted.begin(1, func() {})
	w.agent.track(restarted)
	w.wantsAsked(restarted, "two", 0)
	w.wantsAsked(restarted, "three", 1)
}

func TestValueAtCreationAsksNothing(t *testing.T) {
	w := newAsking(t)
	c := w.container("pod", "s1", nil)
	c.Annotations = map[string]string{"rekindle.dev/request": "one"}
	c.begin(1, func() {})
	w.wantsAsked(c, "one", 0)
	w.wantsAsked(c, "two", 1)
}

// A value that was answered is not asked again because the container ended; one
// that came while none ran is answered when the next one does.
func TestNextContainerInherits(t *testing.T) {
	w := newAsking(t)
	first := w.container("pod", "s1", nil)
	w.starts(first)
	w.wantsAsked(first, "one", 1)
	w.ends(first, killed)
	w.wantsAsked(first, "two", 0)
	second := w.container("pod", "s1", nil)
	w.starts(second)
	w.wantsAsked(second, "two", 1)
	w.ends(second, killed)
	third := w.container("pod", "s1", nil)
	w.starts(third)
	w.wantsAsked(third, "two", 0)
}

func TestRequestsAreBounded(t *testing.T) {
	w := newAsking(t)
	cfg := w.agent.Config()
	cfg.Bounds.IntervalMin = conf.Duration{Duration: time.Hour}
	w.agent.Reload(cfg)
	c := w.container("pod", "s1", nil)
	c.begin(1, func() {})
	w.wantsAsked(c, "one", 1)
	w.wantsAsked(c, "two", 0)
	if d := w.decisions[0]; d.Outcome != Refused || d.Class != ClassRate {
		t.Errorf("decision %+v, want a refusal for the rate", d)
	}
	w.wantsAsked(c, "two", 0)
	if len(w.decisions) != 0 {
		t.Errorf("the same value was refused twice: %+v", w.decisions)
	}
}

// A daemon that has just started hears of pods before it knows their containers.
func TestRequestsWaitForTheRuntime(t *testing.T) {
	w := newWorld(t)
	o := &observed{}
	w.agent.Observe(o)
	asked := make(chan struct{})
	go func() {
		w.agent.Asked(context.Background(), "default", "pod", "", map[string]string{"rekindle.dev/request": "one"}, true)
		close(asked)
	}()
	select {
	case <-asked:
		t.Fatal("answered before it could be known whom")
	case <-time.After(50 * time.Millisecond):
	}
	w.container("pod", "s1", nil).begin(1, func() {})
	w.agent.once.Do(func() { close(w.agent.synchronized) })
	<-asked
	if len(o.decisions) != 1 || o.decisions[0].Outcome != Failed {
		t.Errorf("decisions %+v, want one attempt", o.decisions)
	}
}

func TestRequestOfAnotherPod(t *testing.T) {
	w := newAsking(t)
	c := w.container("pod", "s1", nil)
	c.begin(1, func() {})
	ask := func(changed bool) {
		w.decisions = nil
		w.agent.Asked(context.Background(), c.Namespace, c.Pod, "another uid", map[string]string{"rekindle.dev/request": "one"}, changed)
	}
	ask(false)
	if len(w.decisions) != 0 {
		t.Errorf("decisions %+v, want none", w.decisions)
	}
	ask(true)
	if len(w.decisions) != 1 || w.decisions[0].Outcome != Refused || w.decisions[0].Class != ClassUnmanaged {
		t.Errorf("decisions %+v, want one refusal", w.decisions)
	}
}
