package agent

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/conf"
)

func TestPrune(t *testing.T) {
	w := newWorld(t)
	lives := w.container("lives", "s1", nil)
	w.starts(lives)
	gone := w.container("gone", "s2", nil)
	w.starts(gone)
	completed := w.container("completed", "s3", nil)
	w.starts(completed)
	crashed := w.container("crashed", "s4", nil)
	w.starts(crashed)
	name := map[string]string{}
	for _, c := range []*tracked{lives, gone, completed, crashed} {
		name[w.checkpoint(c).ID] = c.Pod
	}
	w.gone(gone, killed)
	w.ends(completed, api.Exit{Status: 0})
	w.agent.SandboxStopped(context.Background(), "s3")
	w.ends(crashed, killed)

	left := func() []string {
		all, err := w.agent.store.All(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var pods []string
		for _, c := range all {
			pods = append(pods, name[c.ID])
		}
		slices.Sort(pods)
		return pods
	}
	wants := func(when string, pods ...string) {
		t.Helper()
		if got := left(); !slices.Equal(got, pods) {
			t.Errorf("%s: left %v, want %v", when, got, pods)
		}
	}
	now := time.Now()
	w.agent.prune(context.Background(), now)
	wants("at once", "completed", "crashed", "gone", "lives")
	w.agent.prune(context.Background(), now.Add(2*time.Hour))
	wants("after two hours", "crashed", "gone", "lives")
	w.agent.prune(context.Background(), now.Add(8*24*time.Hour))
	wants("after eight days", "crashed", "lives")

	again := w.container("gone", "s5", nil)
	w.starts(again)
	name[w.checkpoint(again).ID] = again.Pod
	w.gone(again, killed)
	short := w.agent.Config()
	short.Store.MinFree = 1024 * conf.TiB
	w.agent.Reload(short)
	w.agent.prune(context.Background(), now)
	wants("when space is short", "crashed", "lives")
}
