package criu

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestStandIn(t *testing.T) {
	tests := map[string]struct {
		spec  string
		stand bool
		fails bool
	}{
		"Own":     {`{"linux":{"namespaces":[{"type":"pid"},{"type":"cgroup"}]}}`, true, false},
		"Given":   {`{"linux":{"namespaces":[{"type":"cgroup","path":"/proc/1/ns/cgroup"}]}}`, false, false},
		"Without": {`{"linux":{"namespaces":[{"type":"pid"}]}}`, false, false},
		"NoLinux": {`{}`, false, false},
		"NoSpec":  {`{`, false, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			bundle, work, bin := t.TempDir(), t.TempDir(), t.TempDir()
			if err := os.WriteFile(filepath.Join(bundle, "config.json"), []byte(tc.spec), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(bin, "criu"), []byte("#!/bin/sh\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin)
			cmd := exec.Command("runc")
			undo, err := standIn(cmd, Call{Bundle: bundle, ID: "abc"}, work)
			if (err != nil) != tc.fails {
				t.Fatalf("standIn=%v", err)
			}
			if tc.fails {
				return
			}
			if tc.stand {
				checkStandIn(t, cmd.Env, work, filepath.Join(bin, "criu"))
			} else if cmd.Env != nil {
				t.Errorf("Env=%v", cmd.Env)
			}
			if err := undo(); err != nil {
				t.Fatal(err)
			}
			if left, _ := os.ReadDir(work); len(left) > 0 {
				t.Errorf("left in the work directory: %v", left)
			}
		})
	}
}

// checkStandIn looks for this program where runc would look for criu.
func checkStandIn(t *testing.T, env []string, work, path string) {
	t.Helper()
	if !slices.Contains(env, standinCRIU+"="+path) || !slices.Contains(env, standinFor+"=abc") {
		t.Errorf("Env lacks %s and the id: %v", path, env)
	}
	search, _, _ := strings.Cut(strings.TrimPrefix(env[len(env)-3], "PATH="), ":")
	if !strings.HasPrefix(search, work) {
		t.Fatalf("PATH begins with %q, want a folder in %q", search, work)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(filepath.Join(search, Standin)); err != nil || target != self {
		t.Errorf("stand-in=%q, %v, want %q", target, err, self)
	}
}

func TestBecomeCRIUByHand(t *testing.T) {
	t.Setenv(standinCRIU, "")
	if err := BecomeCRIU([]string{"criu", "check"}); !errors.Is(err, errNoStandin) {
		t.Fatalf("BecomeCRIU=%v", err)
	}
}
