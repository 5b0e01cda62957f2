package manifest_test

import (
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/manifest"
)

func TestJudgeTogether(t *testing.T) {
	const head = "kind: Pod\nmetadata: {name: p, annotations: {rekindle.dev/consistency: pod, rekindle.dev/on: "
	tests := map[string]struct {
		rest string
		want []string // a part of each note about container a
	}{
		"Two":      {"interval}}\nspec: {runtimeClassName: rekindle, containers: [{name: a}, {name: b}]}\n", []string{"together with b;"}},
		"Alone":    {"interval}}\nspec: {runtimeClassName: rekindle, containers: [{name: a}]}\n", []string{"by itself"}},
		"LeftOut":  {"interval, rekindle.dev/containers: a}}\nspec: {runtimeClassName: rekindle, containers: [{name: a}, {name: b}]}\n", []string{"by itself"}},
		"Init":     {"interval}}\nspec: {runtimeClassName: rekindle, initContainers: [{name: i}], containers: [{name: a}]}\n", []string{"by itself"}},
		"Sidecar":  {"stop}}\nspec: {runtimeClassName: rekindle, initContainers: [{name: s, restartPolicy: Always}], containers: [{name: a}]}\n", []string{"together with s;", "container s gets its stop signal when the others have ended: where the signals come more than 2s apart"}},
		"PreStop":  {"stop}}\nspec: {runtimeClassName: rekindle, containers: [{name: a}, {name: b, lifecycle: {preStop: {exec: {}}}}]}\n", []string{"together with b;", "container b gets its stop signal after its preStop hook"}},
		"Idle":     {"idle}}\nspec: {runtimeClassName: rekindle, containers: [{name: a}, {name: b}]}\n", []string{"together with b;", "sleeps by itself"}},
		"NoStop":   {"interval}}\nspec: {runtimeClassName: rekindle, containers: [{name: a}, {name: b, lifecycle: {preStop: {exec: {}}}}]}\n", []string{"together with b;"}},
		"Override": {"interval, a.rekindle.dev/on: stop}}\nspec: {runtimeClassName: rekindle, containers: [{name: a}, {name: b}]}\n", []string{"together with b;"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			set, err := manifest.Read(strings.NewReader(head + tc.rest))
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range set.Judge(conf.Default(), "default", manifest.Handler) {
				if v.Container != "a" {
					continue
				}
				if !v.Managed || len(v.Notes) != len(tc.want) {
					t.Fatalf("Managed=%v Notes=%+v, want %q", v.Managed, v.Notes, tc.want)
				}
				for i, want := range tc.want {
					if v.Notes[i].Field != "rekindle.dev/consistency" || !strings.Contains(v.Notes[i].Text, want) {
						t.Errorf("%+v, want %q", v.Notes[i], want)
					}
				}
			}
		})
	}
}
