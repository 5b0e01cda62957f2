package manifest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/manifest"
	"github.com/rekindle-dev/rekindle/policy"
)

func read(t *testing.T, name string) manifest.Set {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	set, err := manifest.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func judge(t *testing.T, name string) map[string]manifest.Verdict {
	t.Helper()
	out := map[string]manifest.Verdict{}
	for _, v := range read(t, name).Judge(conf.Default(), "default", manifest.Handler) {
		out[v.Pod+"/"+v.Container] = v
	}
	return out
}

func TestReadKinds(t *testing.T) {
	want := []string{
		"Deployment shop/web", "StatefulSet /db", "DaemonSet /agent", "ReplicaSet /rs-*", "Job /sum", "CronJob /nightly", "Pod /bare", "Rollout /canary",
	}
	var got []string
	for _, p := range read(t, "workloads.yaml").Pods {
		got = append(got, p.Kind+" "+p.Namespace+"/"+p.Name)
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Fatalf("got %q, want %q", got, want)
	}
	for name, v := range judge(t, "workloads.yaml") {
		if !v.Managed || v.Missed {
			t.Errorf("%s is not managed: %s", name, v.Why)
		}
		// Whose pods get generated names has no successors, but for Deployments and Jobs.
		want := map[string]string{"DaemonSet": "kind", "ReplicaSet": "kind"}[v.Kind]
		if got := fields(t, v); got != want {
			t.Errorf("%s %s has notes on %q, want %q", v.Kind, name, got, want)
		}
	}
}

func TestReadMistakes(t *testing.T) {
	pod := func(more string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a}]" + more + "}\n"
	}
	tests := map[string]struct{ text, want string }{
		"Empty":            {"", "neither a pod nor a workload"},
		"CommentsOnly":     {"# nothing\n---\n# here\n", "neither a pod nor a workload"},
		"NoPods":           {"kind: Service\nmetadata: {name: s}\n", "neither a pod nor a workload"},
		"Syntax":           {pod("") + "---\nkind: [Pod\n", "document 2, from line 5"},
		"NoKind":           {"a: b\n", "document 1, from line 1: it has no kind"},
		"Scalar":           {"hello\n", "document 1"},
		"NumberAnnotation": {"kind: Pod\nmetadata: {annotations: {rekindle.dev/keep: 3}}\n", "metadata.annotations is a number and should be a string; put the value of an annotation in quotes"},
		"WrongType":        {pod(", hostNetwork: 7"), "Pod p: hostNetwork is a number and should be a bool"},
		"NoContainers":     {"kind: Pod\nmetadata: {name: p}\n", "Pod p: it has no containers"},
		"NoTemplate":       {"kind: Job\nmetadata: {name: j}\nspec: {}\n", "Job j: it has no pod template"},
		"TooLarge":         {"# " + strings.Repeat("x", 8<<20), "larger than 8 MiB"},
		"TooMany":          {strings.Repeat("---\nkind: Service\n", 1001), "more than 1000 documents"},
		"TooDeep":          {strings.Repeat(`{"kind":"List","items":[`, 9) + strings.Repeat("]}", 9), "nested too deep"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			set, err := manifest.Read(strings.NewReader(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Read=%+v, %v, want %q", set, err, tc.want)
			}
			if strings.HasPrefix(tc.want, "neither") && !errors.Is(err, manifest.ErrNoPods) {
				t.Fatalf("%v is not ErrNoPods", err)
			}
		})
	}
}

func TestJudgePrevented(t *testing.T) {
	tests := map[string]struct{ why, field string }{
		"no-class":         {policy.NoHandler, "spec.runtimeClassName"},
		"other-class":      {policy.NoHandler, "spec.runtimeClassName"},
		"host-network":     {policy.Isolation{HostNetwork: true}.Refusal(), "spec.hostNetwork"},
		"host-pid":         {policy.Isolation{HostPID: true}.Refusal(), "spec.hostPID"},
		"host-ipc":         {policy.Isolation{HostIPC: true}.Refusal(), "spec.hostIPC"},
		"shared-processes": {policy.Isolation{SharedPID: true}.Refusal(), "spec.shareProcessNamespace"},
		"own-users":        {policy.Isolation{OwnUsers: true}.Refusal(), "spec.hostUsers"},
		"denied":           {"namespace kube-system is in namespaces.deny of the config file", ""},
		"typo":             {"there is no rekindle.dev/on annotation", ""},
		"no-trigger":       {"app.rekindle.dev/on names no trigger; known are", ""},
		"no-name":          {"rekindle.dev/containers names no container", ""},
	}
	got := judge(t, "prevented.yaml")
	if len(got) != len(tests) {
		t.Errorf("%d verdicts, want %d", len(got), len(tests))
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := got[name+"/app"]
			if v.Managed || !v.Missed || tc.why == "" || !strings.HasPrefix(v.Why, tc.why) {
				t.Fatalf("Managed=%v Missed=%v Why=%q, want %q", v.Managed, v.Missed, v.Why, tc.why)
			}
			if tc.field != "" && (len(v.Notes) == 0 || v.Notes[0].Field != tc.field || !v.Notes[0].Prevents) {
				t.Fatalf("Notes=%+v, want %s to prevent it", v.Notes, tc.field)
			}
		})
	}
}

func TestJudgeUnasked(t *testing.T) {
	for name, v := range judge(t, "unasked.yaml") {
		if v.Managed || v.Missed || v.Why == "" || len(v.Notes) > 0 {
			t.Errorf("%s: %+v, want it left alone without complaint", name, v)
		}
	}
}

// fields returns where the notes of a verdict stand, and fails on one that
// prevents anything.
func fields(t *testing.T, v manifest.Verdict) string {
	t.Helper()
	var out []string
	for _, n := range v.Notes {
		if n.Prevents || n.Text == "" {
			t.Errorf("%s: %+v", v.Container, n)
		}
		out = append(out, n.Field)
	}
	return strings.Join(out, " ")
}

func TestJudgeNotes(t *testing.T) {
	got := judge(t, "pod.yaml")
	tests := map[string]string{
		"app": "volumeMounts[/scratch] volumeMounts[/data] volumeMounts[/run/docker.sock] volumeMounts[/node] volumeDevices[/dev/raw] " +
			"resources.limits[hugepages-2Mi] resources.limits[nvidia.com/gpu] livenessProbe.exec spec.terminationGracePeriodSeconds",
		"warm":   "spec.initContainers spec.terminationGracePeriodSeconds",
		"cache":  "spec.terminationGracePeriodSeconds", // a sidecar, which is none that runs to its end
		"logger": "",                                   // left out by the annotation
	}
	// They are in the words of the preflight.
	for i, kind := range map[int]string{0: "volume", 1: "volume", 2: "unix", 3: "mount", 4: "device", 5: "hugepages", 6: "device"} {
		if n := got["worker/app"].Notes[i]; criu.Known(kind).What == "" || !strings.Contains(n.Text, criu.Known(kind).What) {
			t.Errorf("%+v, want it to be about %s", n, kind)
		}
	}
	for name, want := range tests {
		if fields := fields(t, got["worker/"+name]); fields != want {
			t.Errorf("%s has notes on %q, want %q", name, fields, want)
		}
	}
	if got["worker/logger"].Missed || got["worker/logger"].Managed || len(got["worker/app"].Policy.Problems) != 2 {
		t.Errorf("logger=%+v, app=%+v", got["worker/logger"], got["worker/app"].Policy)
	}
}

func TestJudgeSettings(t *testing.T) {
	pod := func(annotations, spec string) string {
		return "kind: Pod\nmetadata: {name: p, annotations: {" + annotations + "}}\nspec: {runtimeClassName: rekindle, containers: [{name: a}], " + spec + "}\n"
	}
	noBudget := conf.Default()
	noBudget.Limits.StopBudget = conf.Seconds(0)
	stop, fault := "rekindle.dev/on: stop", "rekindle.dev/on: request, rekindle.dev/restore: fault"
	tests := map[string]struct {
		text string
		cfg  conf.Config
		want string
	}{
		"GraceAsShipped":  {pod(stop, ""), conf.Default(), ""},
		"GraceShort":      {pod(stop, "terminationGracePeriodSeconds: 9"), conf.Default(), "after 9s, which is before limits.stop_budget, 10s"},
		"GraceZero":       {pod(stop, "terminationGracePeriodSeconds: 0"), conf.Default(), "after 2s"},
		"GraceUnused":     {pod(fault, "terminationGracePeriodSeconds: 0"), conf.Default(), ""},
		"NoStopBudget":    {pod(stop, ""), noBudget, "limits.stop_budget is 0s"},
		"NothingRestored": {pod(fault, "restartPolicy: Never"), conf.Default(), "nothing is ever restored"},
		"RestoredInPlace": {pod(fault, "restartPolicy: OnFailure"), conf.Default(), ""},
		"ClassInTheFile":  {"kind: RuntimeClass\nmetadata: {name: warm}\nhandler: rekindle\n---\n" + strings.Replace(pod(stop, ""), "Name: rekindle", "Name: warm", 1), conf.Default(), ""},
		"ClassOfAnother":  {"kind: RuntimeClass\nmetadata: {name: warm}\nhandler: runsc\n---\n" + strings.Replace(pod(stop, ""), "Name: rekindle", "Name: warm", 1), conf.Default(), policy.NoHandler},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			set, err := manifest.Read(strings.NewReader(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			v := set.Judge(tc.cfg, "default", manifest.Handler)[0]
			if (tc.want == "") != (len(v.Notes) == 0) || tc.want != "" && !strings.Contains(v.Notes[0].Text, tc.want) {
				t.Fatalf("Notes=%+v, want %q", v.Notes, tc.want)
			}
		})
	}
}

// FuzzJudge reads any text: there is an error, or a verdict with a reason for
// every container.
func FuzzJudge(f *testing.F) {
	for _, name := range []string{"workloads.yaml", "pod.yaml", "prevented.yaml", "unasked.yaml"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("kind: Pod\nspec: {volumes: [7], containers: [null]}"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte(`{"kind":"Pod","spec":{"containers":[{"name":"\u0000","resources":{"limits":{"a/b":{}}}}],"terminationGracePeriodSeconds":-9223372036854775808}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := manifest.Read(strings.NewReader(string(data)))
		if err != nil {
			return
		}
		verdicts := set.Judge(conf.Default(), "default", manifest.Handler)
		if len(verdicts) < len(set.Pods) {
			t.Fatalf("%d verdicts for %d pods", len(verdicts), len(set.Pods))
		}
		for _, v := range verdicts {
			if v.Why == "" || v.Managed && v.Missed || v.Managed && !v.Policy.Managed {
				t.Fatalf("contradiction: %+v", v)
			}
			for _, n := range v.Notes {
				if n.Field == "" || n.Text == "" || n.Prevents && v.Managed {
					t.Fatalf("contradiction: %+v", v)
				}
			}
		}
	})
}
