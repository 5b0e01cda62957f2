package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// world is an agent over a real store, with containers that are only recorded.
type world struct {
	*testing.T
	agent *Agent
	clock time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	a := New(ctx, conf.Default(), s, Node{Arch: "amd64"}, NewMetrics(prometheus.NewRegistry()))
	return &world{T: t, agent: a, clock: time.Unix(1_700_000_000, 0)}
}

// container records a container of a pod and sandbox, as Admit would.
func (w *world) container(pod, sandbox string, labels map[string]string) *tracked {
	w.Helper()
	w.clock = w.clock.Add(time.Second)
	f := Facts{
		ID: "id-" + pod + "-" + w.clock.Format("150405"), Name: "app", Sandbox: sandbox, Namespace: "default",
		Pod: pod, Labels: labels, ImageDigest: "sha256:1", Fingerprint: "f",
	}
	t := newTracked()
	t.Facts, t.Created = f, w.clock
	t.policy = policy.Policy{Managed: true, Keep: 3, Restore: policy.RestoreAuto}
	t.dir = api.ContainerDir(w.TempDir())
	var err error
	if t.lineage, err = lineageOf(f); err != nil {
		w.Fatal(err)
	}
	w.agent.track(t)
	return t
}

// checkpoint commits a checkpoint of a container.
func (w *world) checkpoint(t *tracked) store.Checkpoint {
	w.Helper()
	return w.checkpointBy(t, policy.Interval)
}

func (w *world) checkpointBy(t *tracked, trigger policy.Trigger) store.Checkpoint {
	w.Helper()
	st, err := w.agent.store.Begin(context.Background(), t.lineage, 0)
	if err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(st.Dir(), "config.json"), []byte("{}"), 0o600); err != nil {
		w.Fatal(err)
	}
	m := w.agent.manifest(t, order{trigger: trigger, reason: "test"}, &api.DumpResponse{})
	c, err := st.Commit(context.Background(), m)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// ends records how a container ended.
func (w *world) ends(t *tracked, e api.Exit) {
	w.Helper()
	if err := t.dir.Write(&e); err != nil {
		w.Fatal(err)
	}
	w.agent.Stopped(context.Background(), t.ID)
}

// starts assigns a ticket to a container and pretends that it was restored.
func (w *world) starts(t *tracked) {
	w.Helper()
	if w.agent.assign(context.Background(), t) > 0 {
		if err := w.agent.AwaitTicket(context.Background(), t.ID); err != nil {
			w.Fatal(err)
		}
	}
	w.agent.release(t)
	if err := t.dir.Write(&api.Attach{}); err != nil {
		w.Fatal(err)
	}
	t.begin(1, func() {})
}

// gone ends a pod: its containers, if they run, and its sandbox.
func (w *world) gone(t *tracked, e api.Exit) {
	w.Helper()
	w.ends(t, e)
	w.agent.SandboxStopped(context.Background(), t.Sandbox)
}

func (w *world) wants(t *tracked, c store.Checkpoint) {
	w.Helper()
	if t.RestoredFrom != c.ID {
		w.Errorf("%s: restored from %q, want %s; decisions %v", t.ID, t.RestoredFrom, c.ID, w.agent.history.of(nameOf(t.Facts)))
	}
}

func (w *world) cold(t *tracked, reason string) {
	w.Helper()
	last := w.agent.history.of(nameOf(t.Facts))
	if t.RestoredFrom != "" || len(last) == 0 || last[0].Action != ActionColdStart || !strings.Contains(last[0].Reason, reason) {
		w.Errorf("%s: restored from %q, want a cold start because %q; decisions %v", t.ID, t.RestoredFrom, reason, last)
	}
}

var killed = api.Exit{Status: 137}

func TestFaultRestoresTheNewest(t *testing.T) {
	w := newWorld(t)
	a := w.container("redis-0", "s1", nil)
	w.starts(a)
	w.checkpoint(a)
	newest := w.checkpoint(a)
	w.ends(a, killed)
	b := w.container("redis-0", "s1", nil)
	w.starts(b)
	w.wants(b, newest)
}

func TestOrderlyEndIsNoFault(t *testing.T) {
	w := newWorld(t)
	a := w.container("job", "s1", nil)
	w.starts(a)
	w.checkpoint(a)
	w.ends(a, api.Exit{Status: 0})
	same := w.container("job", "s1", nil)
	w.starts(same)
	w.cold(same, "exit code 0")
	w.gone(same, api.Exit{Status: 143, Asked: true})
	successor := w.container("job", "s2", nil)
	w.starts(successor)
	w.cold(successor, "exit code 0")
}

func TestSuccessor(t *testing.T) {
	w := newWorld(t)
	a := w.container("redis-0", "s1", nil)
	w.starts(a)
	c := w.checkpoint(a)
	early := w.container("redis-0", "s2", nil)
	w.starts(early)
	w.cold(early, "still runs")
	w.gone(early, killed)
	w.gone(a, api.Exit{Status: 143, Asked: true})
	b := w.container("redis-0", "s3", nil)
	w.starts(b)
	w.wants(b, c)
}

func TestTemplateClaimsOnce(t *testing.T) {
	w := newWorld(t)
	labels := map[string]string{"pod-template-hash": "abc12"}
	one, two := w.container("web-abc12-aaaaa", "s1", labels), w.container("web-abc12-bbbbb", "s2", labels)
	w.starts(one)
	w.starts(two)
	first, second := w.checkpoint(one), w.checkpoint(two)
	scaled := w.container("web-abc12-ccccc", "s3", labels)
	w.starts(scaled)
	w.cold(scaled, "still runs")
	w.gone(one, killed)
	w.gone(two, killed)
	for i, want := range []store.Checkpoint{second, first} {
		successor := w.container([]string{"web-abc12-ddddd", "web-abc12-eeeee"}[i], []string{"s4", "s5"}[i], labels)
		w.starts(successor)
		w.wants(successor, want)
	}
	late := w.container("web-abc12-fffff", "s6", labels)
	w.starts(late)
	w.cold(late, "claimed")
}

// I5: a checkpoint whose containers die before they settle is given up.
func TestLoopGuard(t *testing.T) {
	w := newWorld(t)
	a := w.container("redis-0", "s1", nil)
	w.starts(a)
	older, newest := w.checkpoint(a), w.checkpoint(a)
	w.ends(a, killed)
	for _, want := range []store.Checkpoint{newest, newest, older, older} {
		next := w.container("redis-0", "s1", nil)
		w.starts(next)
		w.wants(next, want)
		w.ends(next, killed)
	}
	last := w.container("redis-0", "s1", nil)
	w.starts(last)
	w.cold(last, "did not settle")
}

func TestStoppedPodsDoNotCountAgainstACheckpoint(t *testing.T) {
	w := newWorld(t)
	a := w.container("redis-0", "s0", nil)
	w.starts(a)
	c := w.checkpoint(a)
	w.gone(a, killed)
	for _, sandbox := range []string{"s1", "s2", "s3", "s4"} {
		next := w.container("redis-0", sandbox, nil)
		w.starts(next)
		w.wants(next, c)
		w.gone(next, api.Exit{Status: 143, Asked: true})
	}
}

// A pod whose container is in back-off is not gone: nobody inherits from it.
func TestCrashedPodIsNotGone(t *testing.T) {
	w := newWorld(t)
	labels := map[string]string{"pod-template-hash": "abc12"}
	one := w.container("web-abc12-aaaaa", "s1", labels)
	w.starts(one)
	c := w.checkpoint(one)
	w.ends(one, killed)
	other := w.container("web-abc12-bbbbb", "s2", labels)
	w.starts(other)
	w.cold(other, "still runs")
	again := w.container("web-abc12-aaaaa", "s1", labels)
	w.starts(again)
	w.wants(again, c)
}

// A create that failed before the shim knew of it leaves the checkpoint as it was.
func TestUntriedTicketIsTakenBack(t *testing.T) {
	w := newWorld(t)
	a := w.container("redis-0", "s1", nil)
	w.starts(a)
	c := w.checkpoint(a)
	w.gone(a, killed)
	for _, sandbox := range []string{"s2", "s3", "s4"} {
		next := w.container("redis-0", sandbox, nil)
		if _, err := w.agent.issue(context.Background(), next); err != nil {
			t.Fatal(err)
		}
		w.wants(next, c)
		w.agent.Removed(context.Background(), next.ID)
	}
	if m, err := w.agent.store.Marks(c.ID); err != nil || m.Attempts != 0 || m.ClaimedBy != "" {
		t.Errorf("marks %+v, %v; want none", m, err)
	}
}

func TestLivenessKillsCountAgainstACheckpoint(t *testing.T) {
	w := newWorld(t)
	a := w.container("redis-0", "s1", nil)
	w.starts(a)
	c := w.checkpoint(a)
	w.ends(a, api.Exit{Status: 137, Asked: true})
	for range 2 {
		next := w.container("redis-0", "s1", nil)
		w.starts(next)
		w.wants(next, c)
		w.ends(next, api.Exit{Status: 137, Asked: true})
	}
	last := w.container("redis-0", "s1", nil)
	w.starts(last)
	w.cold(last, "did not settle")
	if _, err := w.agent.store.Get(c.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the checkpoint is still to be had (%v), want it in quarantine", err)
	}
}

func TestChangedSpecStartsCold(t *testing.T) {
	tests := map[string]struct {
		change func(*tracked)
		reason string
	}{
		"image":       {func(t *tracked) { t.ImageDigest = "sha256:2" }, "another image"},
		"fingerprint": {func(t *tracked) { t.Fingerprint = "g" }, "spec has changed"},
		"never":       {func(t *tracked) { t.policy.Restore = policy.RestoreNever }, "switched off"},
		"successor":   {func(t *tracked) { t.policy.Restore = policy.RestoreSuccessor }, "same pod"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.container("redis-0", "s1", nil)
			w.starts(a)
			w.checkpoint(a)
			w.ends(a, killed)
			b := w.container("redis-0", "s1", nil)
			tt.change(b)
			w.starts(b)
			w.cold(b, tt.reason)
		})
	}
}

// I2: what does not verify is not selected, and goes out of the way.
func TestCorruptCheckpointIsPassedOver(t *testing.T) {
	w := newWorld(t)
	a := w.container("redis-0", "s1", nil)
	w.starts(a)
	older, newest := w.checkpoint(a), w.checkpoint(a)
	if err := os.WriteFile(filepath.Join(newest.Dir(), "config.json"), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.ends(a, killed)
	b := w.container("redis-0", "s1", nil)
	w.starts(b)
	w.wants(b, older)
	if _, err := w.agent.store.Get(newest.ID); err == nil {
		t.Error("the corrupt checkpoint can still be found")
	}
}

// A pod that gets a new sandbox has lost the one before, told or not.
func TestNewSandboxOfThePodSupersedesTheOld(t *testing.T) {
	w := newWorld(t)
	a := w.container("redis-0", "s1", nil)
	a.PodUID = "u1"
	w.starts(a)
	c := w.checkpoint(a)
	other := w.container("redis-0", "s2", nil)
	other.PodUID = "u2"
	w.starts(other)
	w.cold(other, "still runs")
	w.gone(other, killed)
	b := w.container("redis-0", "s3", nil)
	b.PodUID = "u1"
	w.starts(b)
	w.wants(b, c)
}
