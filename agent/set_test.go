package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// member records a container of a pod whose containers are checkpointed together.
func (w *world) member(name, pod, sandbox string, labels map[string]string) *tracked {
	w.Helper()
	t := w.container(pod, sandbox, labels)
	w.agent.mu.Lock()
	delete(w.agent.containers, t.ID)
	w.agent.mu.Unlock()
	t.Name, t.ID = name, t.ID+"-"+name
	t.policy.Consistency = policy.ConsistencyPod
	var err error
	if t.lineage, err = lineageOf(t.Facts); err != nil {
		w.Fatal(err)
	}
	w.agent.track(t)
	return t
}

// set commits the checkpoints of containers as one set.
func (w *world) set(containers ...*tracked) []store.Checkpoint {
	w.Helper()
	var drafts []*draft
	for _, t := range containers {
		st, err := w.agent.store.Begin(context.Background(), t.lineage, 0)
		if err != nil {
			w.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(st.Dir(), "config.json"), []byte("{}"), 0o600); err != nil {
			w.Fatal(err)
		}
		drafts = append(drafts, &draft{tracked: t, staging: st, dump: &api.DumpResponse{}, used: t.goingOn(0)})
	}
	made, err := w.agent.commit(context.Background(), drafts, order{trigger: policy.Interval, reason: "test", set: true})
	if err != nil {
		w.Fatal(err)
	}
	return made
}

// pair starts the two containers of a pod.
func (w *world) pair(pod, sandbox string, labels map[string]string) (lead, follow *tracked) {
	w.Helper()
	lead = w.member("lead", pod, sandbox, labels)
	w.starts(lead)
	follow = w.member("follow", pod, sandbox, labels)
	w.starts(follow)
	return lead, follow
}

func TestSetIsRestoredWhole(t *testing.T) {
	w := newWorld(t)
	lead, follow := w.pair("web-0", "s1", nil)
	w.set(lead, follow)
	newest := w.set(lead, follow)
	w.gone(lead, killed)
	w.gone(follow, killed)
	lead, follow = w.pair("web-0", "s2", nil)
	w.wants(lead, newest[0])
	w.wants(follow, newest[1])
	if setOf(newest[0].Manifest) != setOf(newest[1].Manifest) || setOf(newest[0].Manifest) != newest[0].ID {
		t.Errorf("sets %s and %s, want %s", setOf(newest[0].Manifest), setOf(newest[1].Manifest), newest[0].ID)
	}
	ticket := api.Ticket{}
	if err := follow.dir.Read(&ticket); err != nil || ticket.Members != 2 || ticket.Set != newest[0].ID {
		t.Errorf("ticket %+v, %v: want it to name the set and its size", ticket, err)
	}
}

func TestSetThatIsNotWhole(t *testing.T) {
	tests := map[string]struct {
		spoil func(w *world, follow store.Checkpoint)
		why   string
		// aside is set when what is left goes into quarantine.
		aside bool
	}{
		"MemberGone": {func(w *world, c store.Checkpoint) {
			if err := w.agent.store.Remove(context.Background(), c.ID); err != nil {
				w.Fatal(err)
			}
		}, "container follow in its set cannot be used: it is gone", false},
		"MemberDamaged": {func(w *world, c store.Checkpoint) {
			if err := os.WriteFile(filepath.Join(c.Dir(), "config.json"), []byte("other"), 0o600); err != nil {
				w.Fatal(err)
			}
		}, "container follow in its set cannot be used: verify", true},
		"MemberCompleted": {func(w *world, c store.Checkpoint) {
			if err := w.agent.store.Update(c.ID, func(m *store.Marks) error { m.Completed = true; return nil }); err != nil {
				w.Fatal(err)
			}
		}, "ended by itself with exit code 0", false},
		"MemberDoesNotSettle": {func(w *world, c store.Checkpoint) { w.agent.count(c.ID, 2) }, "did not settle", true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			lead, follow := w.pair("web-0", "s1", nil)
			made := w.set(lead, follow)
			tc.spoil(w, made[1])
			w.gone(lead, killed)
			w.gone(follow, killed)
			lead, follow = w.pair("web-0", "s2", nil)
			w.cold(lead, "")
			w.cold(follow, "")
			reasons := w.agent.history.of(nameOf(lead.Facts))
			if !slices.ContainsFunc(reasons, func(d Decision) bool { return strings.Contains(d.Reason, tc.why) }) {
				t.Errorf("decisions %v, want %q", reasons, tc.why)
			}
			if _, err := w.agent.store.Get(made[0].ID); (err != nil) != tc.aside {
				t.Errorf("the other member: %v, want it put aside: %t", err, tc.aside)
			}
		})
	}
}

// A container goes back alone only when no other has gone on.
func TestSetAfterAFault(t *testing.T) {
	again := func(w *world, name string) *tracked {
		t := w.member(name, "web-0", "s1", nil)
		w.starts(t)
		return t
	}
	t.Run("OneAlone", func(t *testing.T) {
		w := newWorld(t)
		lead, follow := w.pair("web-0", "s1", nil)
		w.set(lead, follow)
		w.ends(follow, killed)
		w.cold(again(w, "follow"), "container lead of it lives and is not restored from it")
	})
	t.Run("All", func(t *testing.T) {
		w := newWorld(t)
		lead, follow := w.pair("web-0", "s1", nil)
		made := w.set(lead, follow)
		w.ends(lead, killed)
		w.ends(follow, killed)
		w.wants(again(w, "lead"), made[0])
		w.wants(again(w, "follow"), made[1])
	})
	t.Run("OneAfterAllWereRestored", func(t *testing.T) {
		w := newWorld(t)
		lead, follow := w.pair("web-0", "s1", nil)
		w.set(lead, follow)
		w.ends(lead, killed)
		w.ends(follow, killed)
		again(w, "lead")
		follow = again(w, "follow")
		w.clock = w.clock.Add(time.Second)
		w.ends(follow, api.Exit{Status: 137, At: w.clock})
		w.cold(again(w, "follow"), "container lead of it has gone on since it was restored")
	})
	t.Run("FirstStartedCold", func(t *testing.T) {
		w := newWorld(t)
		lead, follow := w.pair("web-0", "s1", nil)
		w.set(lead, follow)
		w.gone(lead, killed)
		w.gone(follow, killed)
		other := w.member("lead", "web-0", "s2", nil)
		other.Fingerprint = "changed"
		w.starts(other)
		w.cold(other, "spec has changed")
		follow = w.member("follow", "web-0", "s2", nil)
		w.starts(follow)
		w.cold(follow, "container lead of it lives and is not restored from it")
	})
}

func TestSetGoesToOnePod(t *testing.T) {
	w := newWorld(t)
	labels := map[string]string{"pod-template-hash": "abc"}
	l1, f1 := w.pair("web-abc-11111", "s1", labels)
	l2, f2 := w.pair("web-abc-22222", "s2", labels)
	first, second := w.set(l1, f1), w.set(l2, f2)
	for _, c := range []*tracked{l1, f1, l2, f2} {
		w.gone(c, killed)
	}
	// The pods' containers are created in turns, and stay with their own.
	la := w.member("lead", "web-abc-33333", "s3", labels)
	w.starts(la)
	lb := w.member("lead", "web-abc-44444", "s4", labels)
	w.starts(lb)
	fb := w.member("follow", "web-abc-44444", "s4", labels)
	w.starts(fb)
	fa := w.member("follow", "web-abc-33333", "s3", labels)
	w.starts(fa)
	w.wants(la, second[0])
	w.wants(fa, second[1])
	w.wants(lb, first[0])
	w.wants(fb, first[1])
	l5, f5 := w.pair("web-abc-55555", "s5", labels)
	w.cold(l5, "claimed")
	w.cold(f5, "claimed")
}

// A failed restore puts the whole set aside.
func TestSetOfAFailedRestore(t *testing.T) {
	w := newWorld(t)
	lead, follow := w.pair("web-0", "s1", nil)
	older := w.set(lead, follow)
	newest := w.set(lead, follow)
	w.gone(lead, killed)
	w.gone(follow, killed)
	lead = w.member("lead", "web-0", "s2", nil)
	w.agent.assign(t.Context(), lead)
	w.wants(lead, newest[0])
	if err := lead.dir.Write(&api.Outcome{Checkpoint: newest[0].ID, Error: "no"}); err != nil {
		t.Fatal(err)
	}
	w.agent.Started(t.Context(), lead.ID, 1)
	for _, c := range newest {
		if _, err := w.agent.store.Get(c.ID); err == nil {
			t.Errorf("%s is still there", c.Container)
		}
	}
	follow = w.member("follow", "web-0", "s2", nil)
	w.starts(follow)
	w.cold(follow, "container lead of it lives")
	if _, err := w.agent.store.Get(older[1].ID); err != nil {
		t.Errorf("the older set: %v", err)
	}
}

// A pod that does not ask for consistency uses members as checkpoints like any;
// one that does uses no checkpoint of one container alone.
func TestSetAndSingle(t *testing.T) {
	w := newWorld(t)
	lead, follow := w.pair("web-0", "s1", nil)
	made := w.set(lead, follow)
	w.gone(lead, killed)
	w.gone(follow, killed)
	single := w.member("lead", "web-0", "s2", nil)
	single.policy.Consistency = policy.ConsistencyContainer
	w.starts(single)
	w.wants(single, made[0])
	c := w.checkpoint(single)
	w.gone(single, killed)
	lead = w.member("lead", "web-0", "s3", nil)
	w.starts(lead)
	if lead.RestoredFrom == c.ID {
		t.Error("restored from a checkpoint of one container alone")
	}
}
