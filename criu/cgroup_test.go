package criu

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCgroupIn(t *testing.T) {
	const hybrid = "7:cpu,cpuacct:/pods/a\n6:freezer:/\n5:memory:/pods/a\n1:name=systemd:/pods/a\n0::/system\n"
	tests := map[string]struct {
		text, controller string
		unified          bool
		want             string
	}{
		"Shared":      {hybrid, "cpuacct", false, "/sys/fs/cgroup/cpuacct/pods/a"},
		"Alone":       {hybrid, "memory", false, "/sys/fs/cgroup/memory/pods/a"},
		"Root":        {hybrid, "freezer", false, ""},
		"Unknown":     {hybrid, "pids", false, ""},
		"Unified":     {"0::/pods/a:b\n", "memory", true, "/sys/fs/cgroup/pods/a:b"},
		"UnifiedRoot": {"0::/\n", "memory", true, ""},
		"Empty":       {"", "memory", true, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := cgroupIn(tc.text, tc.controller, tc.unified); got != tc.want {
				t.Errorf("cgroupIn=%q, want %q", got, tc.want)
			}
		})
	}
}

func TestReadStat(t *testing.T) {
	tests := map[string]struct {
		text  string
		names []string
		want  int64
		fails bool
	}{
		"First":    {"usage_usec 12\nuser_usec 7\n", []string{"usage_usec"}, 12, false},
		"Sum":      {"anon 1\ninactive_file 4\nactive_file 5\n", []string{"inactive_file", "active_file"}, 9, false},
		"NotAPart": {"total_inactive_file 4\n", []string{"inactive_file"}, 0, true},
		"Missing":  {"anon 1\n", []string{"file"}, 0, true},
		"Garbage":  {"anon x\n", []string{"anon"}, 0, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "stat")
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readStat(path, tc.names...)
			if got != tc.want || (err != nil) != tc.fails {
				t.Errorf("readStat=%d, %v, want %d", got, err, tc.want)
			}
		})
	}
}

func TestMemoryIn(t *testing.T) {
	const stat = "anon 7\ninactive_file 100\nactive_file 20\n"
	tests := map[string]struct {
		files       map[string]string
		used, limit int64
		fails       bool
	}{
		"Limited":   {map[string]string{"current": "1000\n", "max": "4000\n", "memory.stat": stat}, 880, 4000, false},
		"MostCache": {map[string]string{"current": "100\n", "max": "4000\n", "memory.stat": stat}, 0, 4000, false},
		"Max":       {map[string]string{"current": "1000\n", "max": "max\n", "memory.stat": stat}, 0, 0, false},
		"Unlimited": {map[string]string{"current": "1000\n", "max": "9223372036854771712\n"}, 0, 0, false},
		"NoUsage":   {map[string]string{"max": "4000\n", "memory.stat": stat}, 0, 0, true},
		"Gone":      {nil, 0, 0, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range tc.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			used, limit, err := memoryIn(dir, "current", "max", "inactive_file", "active_file")
			if used != tc.used || limit != tc.limit || (err != nil) != tc.fails {
				t.Errorf("memoryIn=%d, %d, %v, want %d, %d", used, limit, err, tc.used, tc.limit)
			}
		})
	}
}
