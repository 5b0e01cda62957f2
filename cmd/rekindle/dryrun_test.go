package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDryRun(t *testing.T) {
	// Nothing of it may need the daemon.
	t.Setenv(socketVariable, "/nowhere")
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const pod = "kind: Pod\nmetadata: {name: p, annotations: {rekindle.dev/on: interval, rekindle.dev/keep: '9'}}\nspec: {runtimeClassName: rekindle, containers: [{name: app}]}\n"
	write("good", pod)
	write("missed", pod+"---\n"+strings.Replace(pod, "runtimeClassName: rekindle, ", "", 1))
	write("nothing", "kind: Service\n")
	write("escape", strings.Replace(pod, "name: p", `name: "p\e[2J"`, 1))
	write("toml", "[bounds]\nkeep_max = 4\n")
	write("bad.toml", "[bounds]\nkeep = 4\n")
	tests := map[string]struct {
		args   string
		code   int
		stdout []string
		stderr string
	}{
		"Good":          {"-f good --config toml", 0, []string{"configuration: ", "Pod default/p", "app: managed: the pod opted in", "4 ", "bounds.keep_max", "rekindle.dev/on"}, ""},
		"Namespace":     {"-f good --config toml -n shop", 0, []string{"Pod shop/p"}, ""},
		"Denied":        {"-f good --config toml -n kube-system", exitMissed, []string{"not managed: namespace kube-system is in namespaces.deny"}, "would not be (1 of 1)"},
		"Missed":        {"-f missed --config toml", exitMissed, []string{"app: not managed: the pod does not run on", "spec.runtimeClassName", "no checkpoints"}, "would not be (1 of 2)"},
		"OtherClass":    {"-f good --config toml --runtime-class warm", exitMissed, nil, "would not be"},
		"Escape":        {"-f escape --config toml", 0, []string{"Pod default/p?[2J"}, ""},
		"NoPods":        {"-f nothing --config toml", exitFailed, nil, "neither a pod"},
		"NoFile":        {"-f none --config toml", exitFailed, nil, "open manifest"},
		"NoConfig":      {"-f good --config none", exitFailed, nil, "open config"},
		"BadConfig":     {"-f good --config bad.toml", exitFailed, nil, "defaults.keep"},
		"BadNamespace":  {"-f good -n Shop", exitUsage, nil, "name of a namespace"},
		"NothingToRead": {"", exitUsage, nil, "-f FILE"},
		"Surplus":       {"-f good shop/p", exitUsage, nil, "unknown command"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Chdir(dir)
			code, stdout, stderr := execute(t, append([]string{"explain", "--dry-run"}, strings.Fields(tc.args)...)...)
			if code != tc.code || !strings.Contains(stderr, tc.stderr) || (tc.stderr == "") != (stderr == "") {
				t.Errorf("code=%d stderr=%q, want %d and %q", code, stderr, tc.code, tc.stderr)
			}
			for _, part := range tc.stdout {
				if !strings.Contains(stdout, part) {
					t.Errorf("stdout lacks %q:\n%s", part, stdout)
				}
			}
		})
	}
	t.Run("JSON", func(t *testing.T) {
		_, stdout, _ := execute(t, "explain", "--dry-run", "-o", "json", "--config", filepath.Join(dir, "toml"), "-f", filepath.Join(dir, "missed"))
		var answer struct{ Containers []map[string]any }
		if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
			t.Fatal(err)
		}
		const want = "candidates decisions managed name notes object problems settings why"
		if got := keys(answer.Containers[1]); got != want {
			t.Fatalf("keys=%q, want %q", got, want)
		}
	})
	t.Run("WithoutDryRun", func(t *testing.T) {
		if code, _, stderr := execute(t, "explain", "-f", "x"); code != exitUsage || !strings.Contains(stderr, "--dry-run") {
			t.Fatalf("code=%d stderr=%q", code, stderr)
		}
	})
}
