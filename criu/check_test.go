package criu_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/criu"
)

func TestParseVersion(t *testing.T) {
	tests := map[string]struct {
		output string
		want   criu.Version
		err    error
	}{
		"CRIU":          {"Version: 4.2.1\n", criu.Version{Major: 4, Minor: 2, Patch: 1}, nil},
		"CRIUTwoParts":  {"Version: 4.2\nGitID: v4.2\n", criu.Version{Major: 4, Minor: 2}, nil},
		"CRIUOld":       {"Version: 3.17.1\n", criu.Version{Major: 3, Minor: 17, Patch: 1}, nil},
		"CRIUWithNoise": {"Warn  (criu/kerndat.c:1290): Can't keep\nVersion: 4.3\n", criu.Version{Major: 4, Minor: 3}, nil},
		"Runc":          {"runc version 1.5.2\nspec: 1.3.0\ngo: go1.26.8\n", criu.Version{Major: 1, Minor: 5, Patch: 2}, nil},
		"RuncCandidate": {"runc version 1.4.0-rc.2+dev\n", criu.Version{Major: 1, Minor: 4}, nil},
		"Prefixed":      {"version v2.0.1", criu.Version{Major: 2, Minor: 0, Patch: 1}, nil},
		"OneNumber":     {"Version: 4\n", criu.Version{}, criu.ErrNoVersion},
		"Unreadable":    {"Version: four\n", criu.Version{}, criu.ErrNoVersion},
		"TooLong":       {"Version: 99999999999999999999.1\n", criu.Version{}, criu.ErrNoVersion},
		"Empty":         {"", criu.Version{}, criu.ErrNoVersion},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := criu.ParseVersion(tc.output)
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Fatalf("ParseVersion=%v, %v, want %v, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestVersionLess(t *testing.T) {
	ordered := []criu.Version{{}, {3, 17, 1}, {4, 1, 1}, {4, 2, 0}, {4, 2, 1}, {4, 10, 0}, {5, 0, 0}}
	for i, v := range ordered {
		for j, w := range ordered {
			if got := v.Less(w); got != (i < j) {
				t.Errorf("%s.Less(%s)=%v", v, w, got)
			}
		}
	}
}

func TestProbe(t *testing.T) {
	tests := map[string]struct {
		script  string // the program criu; empty for none
		version criu.Version
		problem string
		dirty   bool
		err     string
	}{
		"Good":        {`[ "$1" = check ] && echo Looks good. || echo Version: 4.2.1`, criu.Version{Major: 4, Minor: 2, Patch: 1}, "", true, ""},
		"NotTracking": {`[ "$1" = check ] || { echo Version: 4.2; exit; }; [ -z "$2" ] || { [ "$*" = "check --feature mem_dirty_track" ] && echo Dirty tracking is OFF; exit 1; }`, criu.Version{Major: 4, Minor: 2}, "", false, ""},
		"CheckFails":  {`[ "$1" = check ] || { echo Version: 4.2; exit; }; printf "(00.1) Error (criu/x.c:1): no \\033pidfd\\nbye\\n"; exit 1`, criu.Version{Major: 4, Minor: 2}, "exit status 1: Error (criu/x.c:1): no ?pidfd", false, ""},
		"CheckMute":   {`[ "$1" = check ] || { echo Version: 4.2; exit; }; echo bye; exit 3`, criu.Version{Major: 4, Minor: 2}, "exit status 3: bye", false, ""},
		"NotStarted":  {`echo "Error (criu/vdso.c:1): Unexpected rt vDSO area bounds"; exit 1`, criu.Version{}, "", false, "Unexpected rt vDSO"},
		"NoVersion":   {`echo hello`, criu.Version{}, "", false, "no version number"},
		"None":        {"", criu.Version{}, "", false, "find criu"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tc.script != "" {
				if err := os.WriteFile(filepath.Join(dir, "criu"), []byte("#!/bin/sh\n"+tc.script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", dir)
			f, err := criu.Probe(t.Context())
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("Probe=%v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if f.Version != tc.version || f.Problem != tc.problem || f.DirtyTracking != tc.dirty || f.Path != filepath.Join(dir, "criu") {
				t.Fatalf("Findings=%+v, want %v and problem %q", f, tc.version, tc.problem)
			}
		})
	}
}

func TestGlobalConfigs(t *testing.T) {
	dir := t.TempDir()
	if got, err := criu.GlobalConfigs(filepath.Join(dir, "none")); err != nil || len(got) > 0 {
		t.Fatalf("without directory: %v, %v", got, err)
	}
	for name, text := range map[string]string{
		"default.conf": "# nothing\n\n  # but comments\n",
		"runc.conf":    "# one\ntcp-established\n",
		"other.conf":   "shell-job\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := criu.GlobalConfigs(dir)
	if want := []string{filepath.Join(dir, "runc.conf")}; err != nil || !slices.Equal(got, want) {
		t.Fatalf("GlobalConfigs=%v, %v, want %v", got, err, want)
	}
}
