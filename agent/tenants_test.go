package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/policy"
)

// TestTwoTenants has one tenant make checkpoints, and another, in a namespace of
// his own, try everything that he can choose: names of pods and containers,
// labels, annotations, images, the order of things. He never gets one of the
// first tenant's, which is sound and waits for a successor all the time.
func TestTwoTenants(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv("SOAK_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("SOAK_SEED=%d makes the same choices again", seed)
	r := rand.New(rand.NewPCG(seed, seed))
	w := newWorld(t)
	theirs := map[string]bool{}
	targets := map[string]map[string]string{
		"redis-0":         nil,
		"web-abc12-aaaaa": {"pod-template-hash": "abc12"},
		"sum-x7k2p":       {jobNameLabel: "sum", jobUIDLabel: "u1"},
		"sum-0-x7k2p":     {jobNameLabel: "sum", jobUIDLabel: "u1", jobIndexLabel: "0"},
	}
	for pod, labels := range targets {
		a := w.container(pod, "sandbox-of-"+pod, labels)
		w.starts(a)
		theirs[w.checkpoint(a).ID] = true
		theirs[w.checkpointBy(a, policy.Stop).ID] = true
		w.gone(a, killed)
	}
	names := []string{
		"default", "other", "redis-0", "web-abc12-aaaaa", "web-abc12-bbbbb", "sum-x7k2p", "sum-0-x7k2p", "pod.redis-0",
		"default.redis-0", "default-redis-0", "app", "..", "../default", "default/pod.redis-0", "other/../default", "", "template.web-abc12", "%2e%2e", "x",
	}
	keys := []string{"pod-template-hash", jobNameLabel, jobUIDLabel, jobIndexLabel, "statefulset.kubernetes.io/pod-name", "app", "io.kubernetes.pod.namespace"}
	values := append([]string{"abc12", "sum", "u1", "u2", "0", "-1", "sum-0"}, names...)
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	tried := 0
	for i := range 3000 {
		f := Facts{
			ID: fmt.Sprint("intruder", i), Sandbox: pick([]string{"own", "sandbox-of-redis-0", "sandbox-of-sum-x7k2p"}),
			Namespace: pick([]string{"other", "other", "other", "defaul", "default2", "default.", "DEFAULT", "default/", "../default", " default"}),
			Pod:       pick(names), Name: pick(names), Labels: map[string]string{},
			ImageDigest: pick([]string{"sha256:1", "sha256:2"}), Fingerprint: pick([]string{"f", "g"}),
		}
		for range r.IntN(5) {
			f.Labels[pick(keys)] = pick(values)
		}
		restore := policy.RestoreMode(pick([]string{string(policy.RestoreAuto), string(policy.RestoreClone), string(policy.RestoreSuccessor)}))
		l, err := lineageOf(f)
		if err != nil {
			continue // it has no identity, and starts cold
		}
		if l.Namespace == "default" || strings.Contains(l.String(), "..") {
			t.Fatalf("%+v has the lineage %s", f, l)
		}
		tried++
		for _, previous := range []bool{false, true} {
			next := newTracked()
			next.Facts, next.Created, next.lineage, next.dir = f, w.clock, l, api.ContainerDir(t.TempDir())
			next.policy = policy.Policy{Managed: true, Keep: 3, Restore: restore}
			if previous {
				before := newTracked()
				before.Facts, before.lineage, before.dir = f, l, api.ContainerDir(t.TempDir())
				before.ID += "-before"
				w.agent.track(before)
			}
			choice, err := w.agent.choose(context.Background(), next)
			if err != nil {
				t.Fatal(err)
			}
			if choice.chosen != nil && theirs[choice.chosen.ID] {
				t.Fatalf("%+v would be restored from %s of the other tenant", f, choice.chosen)
			}
			for _, c := range choice.candidates {
				if theirs[c.checkpoint.ID] {
					t.Fatalf("%+v is told of %s", f, c.checkpoint)
				}
			}
			w.agent.mu.Lock()
			delete(w.agent.containers, f.ID+"-before")
			w.agent.mu.Unlock()
		}
	}
	if tried < 300 {
		t.Fatalf("only %d tries had an identity", tried)
	}
	// All the while they were good for their own.
	b := w.container("redis-0", "a-new-sandbox", nil)
	w.starts(b)
	if !theirs[b.RestoredFrom] {
		t.Fatalf("the first tenant's own successor got %q", b.RestoredFrom)
	}
	t.Logf("%d tries", tried)
}
