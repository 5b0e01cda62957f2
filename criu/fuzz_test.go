package criu_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/rekindle-dev/rekindle/criu"
)

// FuzzPreflight looks at a container whose processes and files are called
// anything: the findings are of known kinds, one of each, bounded, and fit for a
// terminal.
func FuzzPreflight(f *testing.F) {
	const (
		status = "Name:\tapp\nState:\tS (sleeping)\nPPid:\t9\nTracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nNSpid:\t10\t7\n"
		mounts = "20 1 0:30 / / rw,relatime - overlay overlay rw,lowerdir=/l\n21 20 8:1 /v /data\\040x rw - ext4 /dev/x rw\n"
	)
	f.Add(status, mounts, "7f-80 rw-s 00000000 00:0f 1051   anon_inode:[io_uring]\n")
	f.Add("Name:\t\x1b[2J\u202e\nState:\tT\nTracerPid:\t-1\nNSpid:\t\nUid:\t1\n", "20 1 8:1 /c / rw - ext4\n", "anon_inode:")
	f.Add("", "- - - - -\n\n 1 1 : / /\xff rw - x", "7f-80 rw-p 0 0 0 /dev/\n\n ")
	f.Add(strings.Repeat("Name:\t"+strings.Repeat("\xf0", 300)+"\n", 9), strings.Repeat("9 9 9:9 / /m rw - tmpfs t rw\n", 50), strings.Repeat("a b c d e anon_inode:\n", 500))
	f.Fuzz(func(t *testing.T, status, mounts, maps string) {
		proc := t.TempDir()
		for path, text := range map[string]string{
			"1/mountinfo": "1 0 8:1 / / rw - ext4 /dev/x rw\n", "9/status": status,
			"10/status": status, "10/mountinfo": mounts, "11/status": status, "11/maps": maps, "11/mountinfo": mounts,
		} {
			write(t, filepath.Join(proc, path), text)
		}
		list, err := criu.Preflight(t.Context(), criu.Subject{Init: 10, Processes: []int{10, 11, 12}, Proc: proc})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, f := range list {
			if seen[f.Kind] || !slices.Contains(criu.Kinds(), f.Kind) || f.What == "" {
				t.Fatalf("not a finding: %+v", f)
			}
			seen[f.Kind] = true
			if len(f.What) > 5000 || strings.ContainsFunc(f.What+f.Remedy, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("not fit for a terminal: %q", f.What)
			}
		}
	})
}
