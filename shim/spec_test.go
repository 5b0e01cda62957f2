package shim

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	uid   = "0b1e3c9a-7a1c-4f0c-9d7e-0123456789ab"
	other = "5f2d8e11-0000-4f0c-9d7e-ba9876543210"
)

func TestSourceOf(t *testing.T) {
	kubelet := "/var/lib/kubelet/pods/"
	cri := "/run/containerd/io.containerd.grpc.v1.cri/sandboxes/"
	tests := map[string]struct {
		a, b string
		same bool
	}{
		"the same claim in another pod":      {kubelet + uid + "/volumes/kubernetes.io~csi/pvc-1/mount", kubelet + other + "/volumes/kubernetes.io~csi/pvc-1/mount", true},
		"another claim":                      {kubelet + uid + "/volumes/kubernetes.io~csi/pvc-1/mount", kubelet + uid + "/volumes/kubernetes.io~csi/pvc-2/mount", false},
		"the service account's volume":       {kubelet + uid + "/volumes/kubernetes.io~projected/kube-api-access-x7k2p", kubelet + other + "/volumes/kubernetes.io~projected/kube-api-access-abcde", true},
		"the termination message":            {kubelet + uid + "/containers/app/0a1b2c3d", kubelet + other + "/containers/app/99999999", true},
		"a static pod's directory":           {kubelet + strings.Repeat("a", 32) + "/etc-hosts", kubelet + strings.Repeat("b", 32) + "/etc-hosts", true},
		"the sandbox's files":                {cri + strings.Repeat("a", 64) + "/hostname", cri + strings.Repeat("b", 64) + "/hostname", true},
		"another hostPath":                   {"/data/a", "/data/b", false},
		"a hostPath that looks like a pod's": {"/data/pods/a/x", "/data/pods/b/x", false},
		"a volume and a hostPath":            {kubelet + uid + "/volumes/kubernetes.io~empty-dir/v", "/etc", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sourceOf(tt.a) == sourceOf(tt.b); got != tt.same {
				t.Errorf("%s and %s: same %t, want %t", sourceOf(tt.a), sourceOf(tt.b), got, tt.same)
			}
		})
	}
}

// Only what CRI made for the sandbox is ours to capture and to put back.
func TestShm(t *testing.T) {
	own := "/run/containerd/io.containerd.grpc.v1.cri/sandboxes/s1/shm"
	tests := map[string]struct{ source, want string }{
		"the sandbox's own":      {own, own},
		"another sandbox's":      {"/run/containerd/io.containerd.grpc.v1.cri/sandboxes/s2/shm", ""},
		"a hostPath":             {"/etc", ""},
		"the host's /dev/shm":    {"/dev/shm", ""},
		"an emptyDir of the pod": {"/var/lib/kubelet/pods/" + uid + "/volumes/kubernetes.io~empty-dir/shm", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := bundleSpec{Mounts: []specs.Mount{{Destination: "/dev/shm", Type: "bind", Source: tt.source}}}
			if got := s.shm("s1"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
