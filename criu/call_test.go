package criu_test

import (
	"slices"
	"testing"

	"github.com/rekindle-dev/rekindle/criu"
)

func TestParseCall(t *testing.T) {
	global := []string{"--root", "/run/containerd/runc/k8s.io", "--log", "/b/log.json", "--log-format", "json"}
	tests := map[string]struct {
		args []string
		want criu.Call
	}{
		"create": {
			args: append(slices.Clone(global), "create", "--bundle", "/b", "--pid-file", "/b/init.pid", "abc"),
			want: criu.Call{Command: "create", ID: "abc", Root: "/run/containerd/runc/k8s.io", Log: "/b/log.json", Bundle: "/b", PidFile: "/b/init.pid"},
		},
		"create on a terminal": {
			args: append(slices.Clone(global), "--systemd-cgroup", "create", "--bundle=/b", "--console-socket", "/s", "--no-pivot", "abc"),
			want: criu.Call{Command: "create", ID: "abc", Root: "/run/containerd/runc/k8s.io", Log: "/b/log.json", Bundle: "/b", ConsoleSocket: "/s", NoPivot: true},
		},
		"kill": {
			args: append(slices.Clone(global), "kill", "abc", "9"),
			want: criu.Call{Command: "kill", ID: "abc", Root: "/run/containerd/runc/k8s.io", Log: "/b/log.json"},
		},
		"exec, whose own command is not looked into": {
			args: append(slices.Clone(global), "exec", "--process", "/p.json", "--detach", "abc"),
			want: criu.Call{Command: "exec", ID: "abc", Root: "/run/containerd/runc/k8s.io", Log: "/b/log.json"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := criu.ParseCall(tt.args)
			if err != nil {
				t.Fatal(err)
			}
			got.Global = nil
			if got.Command != tt.want.Command || got.Root != tt.want.Root || got.Log != tt.want.Log || got.Bundle != tt.want.Bundle ||
				got.PidFile != tt.want.PidFile || got.ConsoleSocket != tt.want.ConsoleSocket || got.NoPivot != tt.want.NoPivot || got.ID != tt.want.ID {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
