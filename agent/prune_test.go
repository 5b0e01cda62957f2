package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/store"
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

	// What is wanted is the newest good one; what it has superseded makes way.
	again := w.container("gone", "s5", nil)
	w.starts(again)
	name[w.checkpoint(again).ID] = "superseded"
	name[w.checkpoint(again).ID] = again.Pod
	w.gone(again, killed)
	short := w.agent.Config()
	short.Store.MinFree = 1024 * conf.TiB
	w.agent.Reload(short)
	w.agent.prune(context.Background(), now)
	wants("when space is short", "crashed", "gone", "lives")
}

// TestQuota fills a node beyond what it may hold, and looks at what makes way.
func TestQuota(t *testing.T) {
	fill := func(t *testing.T) (w *world, names map[string]string) {
		w, names = newWorld(t), map[string]string{}
		lives := w.container("lives", "s1", nil)
		w.starts(lives)
		gone := w.container("gone", "s2", nil)
		w.starts(gone)
		for _, n := range []string{"1", "2", "3"} {
			names[w.checkpoint(lives).ID] = "lives " + n
			names[w.checkpoint(gone).ID] = "gone " + n
		}
		w.gone(gone, killed)
		return w, names
	}
	// A checkpoint of these tests has two bytes.
	tests := map[string]struct {
		quota conf.Quota
		spoil string // a checkpoint that is damaged
		pin   string
		left  []string
	}{
		"None":           {conf.Quota{}, "", "", []string{"gone 1", "gone 2", "gone 3", "lives 1", "lives 2", "lives 3"}},
		"GoneGoesFirst":  {conf.Quota{NodeCount: 5}, "", "", []string{"gone 2", "gone 3", "lives 1", "lives 2", "lives 3"}},
		"ThenTheLiving":  {conf.Quota{NodeCount: 3}, "", "", []string{"gone 3", "lives 2", "lives 3"}},
		"NewestStay":     {conf.Quota{NodeCount: 1}, "", "", []string{"gone 3", "lives 3"}},
		"NewestGood":     {conf.Quota{NodeCount: 1}, "lives 3", "", []string{"gone 3", "lives 2"}},
		"Pinned":         {conf.Quota{NodeCount: 1}, "", "gone 1", []string{"gone 1", "gone 3", "lives 3"}},
		"Bytes":          {conf.Quota{NodeBytes: 8}, "", "", []string{"gone 3", "lives 1", "lives 2", "lives 3"}},
		"NamespaceBytes": {conf.Quota{NamespaceBytes: 11}, "", "", []string{"gone 2", "gone 3", "lives 1", "lives 2", "lives 3"}},
		"NamespaceCount": {conf.Quota{NamespaceCount: 4}, "", "", []string{"gone 3", "lives 1", "lives 2", "lives 3"}},
		"ContainerBytes": {conf.Quota{ContainerBytes: 4}, "", "", []string{"gone 2", "gone 3", "lives 2", "lives 3"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w, names := fill(t)
			for id, n := range names {
				switch n {
				case tc.spoil:
					dir, err := w.agent.store.Whereabouts(id)
					if err == nil {
						err = os.WriteFile(filepath.Join(dir, "config.json"), []byte("[]"), 0o600)
					}
					if err != nil {
						t.Fatal(err)
					}
				case tc.pin:
					if err := w.agent.store.Pin(id, true); err != nil {
						t.Fatal(err)
					}
				}
			}
			cfg := w.agent.Config()
			cfg.Quota = tc.quota
			w.agent.Reload(cfg)
			plan, err := w.agent.collect(context.Background(), time.Now(), store.Lineage{}, 0)
			if err != nil {
				t.Fatal(err)
			}
			w.agent.prune(context.Background(), time.Now())
			all, err := w.agent.store.All(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if len(plan.removals)+len(all) != len(names) {
				t.Errorf("%d were planned to be removed, and %d of %d are left", len(plan.removals), len(all), len(names))
			}
			var left []string
			for _, c := range all {
				left = append(left, names[c.ID])
			}
			slices.Sort(left)
			if !slices.Equal(left, tc.left) {
				t.Errorf("left %v, want %v", left, tc.left)
			}
		})
	}
}

// TestMakeRoom asks for room for one more: what is superseded makes way, and
// when that does not suffice the checkpoint is not made, and nothing is lost.
func TestMakeRoom(t *testing.T) {
	w := newWorld(t)
	a := w.container("redis-0", "s1", nil)
	w.starts(a)
	w.checkpoint(a)
	newest := w.checkpoint(a)
	cfg := w.agent.Config()
	cfg.Quota = conf.Quota{ContainerBytes: 4}
	w.agent.Reload(cfg)
	if err := w.agent.makeRoom(context.Background(), a.lineage, 5); !errors.Is(err, errQuota) || !strings.Contains(err.Error(), "quota.container_bytes") {
		t.Fatalf("room for 5 bytes: %v", err)
	}
	if list, err := w.agent.store.List(a.lineage); err != nil || len(list) != 2 {
		t.Fatalf("%d are left, %v; nothing was to be removed for nothing", len(list), err)
	}
	if err := w.agent.makeRoom(context.Background(), a.lineage, 2); err != nil {
		t.Fatal(err)
	}
	if list, err := w.agent.store.List(a.lineage); err != nil || len(list) != 1 || list[0].ID != newest.ID {
		t.Fatalf("%d are left, %v", len(list), err)
	}
	// A node without byte quotas does not read manifests for it.
	cfg.Quota = conf.Quota{NodeCount: 10}
	cfg.Store.MinFree = 0
	w.agent.Reload(cfg)
	if !w.agent.roomy(1) {
		t.Error("there is room, and it is not seen")
	}
}

// TestScrub damages a checkpoint that lies there: it is found, once.
func TestScrub(t *testing.T) {
	w := newWorld(t)
	a := w.container("redis-0", "s1", nil)
	w.starts(a)
	bad, good := w.checkpoint(a), w.checkpoint(a)
	w.agent.scrub(context.Background(), time.Now()) // nothing is due
	if err := os.WriteFile(filepath.Join(bad.Dir(), "config.json"), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.agent.scrub(context.Background(), time.Now())
	}
	list, err := w.agent.store.List(a.lineage)
	if err != nil || len(list) != 1 || list[0].ID != good.ID {
		t.Fatalf("left %d, %v", len(list), err)
	}
	found := 0
	for _, d := range w.agent.history.of(nameOf(Facts{Namespace: bad.Namespace, Pod: bad.PodName, Name: bad.Container})) {
		if d.Action == ActionQuarantine && d.Checkpoint == bad.ID {
			found++
		}
	}
	if found != 1 {
		t.Errorf("it was told %d times", found)
	}
	at, err := w.agent.store.Verified(context.Background(), good)
	if err != nil || at.IsZero() {
		t.Errorf("the other one was not verified: %v", err)
	}
}
