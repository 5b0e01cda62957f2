package agent

import (
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/store"
)

func TestCompatible(t *testing.T) {
	node := Node{Arch: "amd64", CPUFeatures: "AVX SSE", Cgroup: "unified", Kernel: "6.18.5-amd64", CRIU: "4.2.1", Runc: "1.5.2"}
	tests := map[string]struct {
		made func(*store.Manifest)
		want string // what the objection says; empty if there is none
	}{
		"Same":            {func(*store.Manifest) {}, ""},
		"OlderKernel":     {func(m *store.Manifest) { m.Kernel = "6.1.0-32-amd64" }, ""},
		"OtherBuild":      {func(m *store.Manifest) { m.Kernel = "6.18.5-99-cloud-amd64" }, ""},
		"NewerKernel":     {func(m *store.Manifest) { m.Kernel = "6.18.6-amd64" }, "newer kernel (6.18.6-amd64, this node has 6.18.5-amd64)"},
		"KernelOfTwo":     {func(m *store.Manifest) { m.Kernel = "6.19" }, "newer kernel"},
		"KernelByNumbers": {func(m *store.Manifest) { m.Kernel = "6.9.99" }, ""},
		"NewerCRIU":       {func(m *store.Manifest) { m.CRIU = "4.3.0" }, "newer CRIU"},
		"OlderCRIU":       {func(m *store.Manifest) { m.CRIU = "4.2.0" }, ""},
		"NewerRunc":       {func(m *store.Manifest) { m.Runc = "2.0.0" }, "newer runc"},
		"UnknownRunc":     {func(m *store.Manifest) { m.Runc = "unknown" }, "runc"},
		"FewerFeatures":   {func(m *store.Manifest) { m.CPUFeatures = "SSE" }, ""},
		"MoreFeatures":    {func(m *store.Manifest) { m.CPUFeatures = "AVX AVX512F SSE" }, "can do more (AVX512F)"},
		"OtherCgroups":    {func(m *store.Manifest) { m.Cgroup = "legacy" }, "other control groups (legacy, this node has unified)"},
		"OtherArch":       {func(m *store.Manifest) { m.Arch = "arm64" }, "another architecture"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			m := store.Manifest{Arch: node.Arch, CPUFeatures: node.CPUFeatures, Cgroup: node.Cgroup, Kernel: node.Kernel, CRIU: node.CRIU, Runc: node.Runc}
			tc.made(&m)
			got := node.objection(m)
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Fatalf("objection=%q, want %q", got, tc.want)
			}
		})
	}
	t.Run("NothingIsKnown", func(t *testing.T) {
		blind := Node{Arch: "amd64", CRIU: "unknown", Runc: "unknown"}
		if got := blind.objection(store.Manifest{Arch: "amd64", CRIU: "unknown", Runc: "unknown"}); got != "" {
			t.Fatalf("objection=%q, want none", got)
		}
	})
}
