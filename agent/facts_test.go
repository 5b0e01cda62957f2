package agent

import (
	"errors"
	"testing"
)

// job returns the labels of a Job's pod.
func job(name, index string) map[string]string {
	labels := map[string]string{
		"batch.kubernetes.io/job-name": name, "batch.kubernetes.io/controller-uid": "4d7a9c1e-0000-4000-8000-000000000001",
	}
	if index != "" {
		labels["batch.kubernetes.io/job-completion-index"] = index
	}
	return labels
}

func TestLineageOf(t *testing.T) {
	tests := map[string]struct {
		pod    string
		labels map[string]string
		want   string
	}{
		"StatefulSet pod": {pod: "redis-0", labels: map[string]string{"statefulset.kubernetes.io/pod-name": "redis-0"}, want: "pod.redis-0"},
		"bare pod":        {pod: "redis", want: "pod.redis"},
		"Deployment pod": {
			pod: "web-66d5c8c44b-x7k2p", labels: map[string]string{"pod-template-hash": "66d5c8c44b"}, want: "template.web-66d5c8c44b",
		},
		"another pod of the template": {
			pod: "web-66d5c8c44b-zzzzz", labels: map[string]string{"pod-template-hash": "66d5c8c44b"}, want: "template.web-66d5c8c44b",
		},
		"label without the name to it": {
			pod: "intruder", labels: map[string]string{"pod-template-hash": "66d5c8c44b"}, want: "pod.intruder",
		},
		"Job's pod": {
			pod: "sum-x7k2p", labels: job("sum", ""), want: "job.sum.4d7a9c1e-0000-4000-8000-000000000001",
		},
		"pod of one index of a Job": {
			pod: "sum-12-x7k2p", labels: job("sum", "12"), want: "job.sum-12.4d7a9c1e-0000-4000-8000-000000000001",
		},
		"labels of a Job without the name to them": {
			pod: "intruder-x7k2p", labels: job("sum", ""), want: "pod.intruder-x7k2p",
		},
		"name of a Job's pod without the labels": {pod: "sum-x7k2p", want: "pod.sum-x7k2p"},
		"a Job whose name only begins the same": {
			pod: "sum-of-x7k2p", labels: job("sum", ""), want: "pod.sum-of-x7k2p",
		},
		"label that is no hash": {
			pod: "web-x-y", labels: map[string]string{"pod-template-hash": "../.."}, want: "pod.web-x-y",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l, err := lineageOf(Facts{Namespace: "prod", Pod: tt.pod, Name: "app", Labels: tt.labels})
			if err != nil {
				t.Fatal(err)
			}
			if l.Workload != tt.want || l.Namespace != "prod" || l.Container != "app" {
				t.Errorf("got %s, want workload %s", l, tt.want)
			}
		})
	}
}

// I8: whatever a tenant writes into names and labels, no lineage leaves its
// namespace, and none is made from a name that is not one path component.
func TestLineageOfHostileNames(t *testing.T) {
	for _, name := range []string{"..", ".", "", "a/b", "../../etc", "a\x00b", "A", "-a", "a..b", "ä", "a b"} {
		for what, f := range map[string]Facts{
			"namespace": {Namespace: name, Pod: "p", Name: "c"},
			"pod":       {Namespace: "n", Pod: name, Name: "c"},
			"container": {Namespace: "n", Pod: "p", Name: name},
		} {
			if l, err := lineageOf(f); !errors.Is(err, errNoIdentity) {
				t.Errorf("%s %q: got %s, %v", what, name, l, err)
			}
		}
	}
}

func TestFingerprint(t *testing.T) {
	base := Shape{
		ImageDigest: "sha256:1", Args: []string{"a", "b"}, Env: []string{"A=1", "B=2"},
		Mounts: []string{"bind /data", "proc /proc"}, User: "0:0 []", Volatile: []string{"10.1.2.3", "pod-uid"},
	}
	change := func(f func(*Shape)) Shape { s := base; f(&s); return s }
	tests := map[string]struct {
		shape Shape
		same  bool
	}{
		"order of the environment": {change(func(s *Shape) { s.Env = []string{"B=2", "A=1"} }), true},
		"order of mounts":          {change(func(s *Shape) { s.Mounts = []string{"proc /proc", "bind /data"} }), true},
		"host name":                {change(func(s *Shape) { s.Env = []string{"A=1", "B=2", "HOSTNAME=x"} }), true},
		"a service's variables": {change(func(s *Shape) {
			s.Env = []string{"A=1", "B=2", "WEB_SERVICE_HOST=1.2.3.4", "WEB_PORT=tcp://1.2.3.4:80", "WEB_PORT_80_TCP_PROTO=tcp"}
		}), true},
		"the pod's own address":     {change(func(s *Shape) { s.Env = []string{"A=1", "B=2", "POD_IP=10.1.2.3"} }), true},
		"other values to leave out": {change(func(s *Shape) { s.Volatile = []string{"10.9.9.9"} }), true},
		"image":                     {change(func(s *Shape) { s.ImageDigest = "sha256:2" }), false},
		"order of arguments":        {change(func(s *Shape) { s.Args = []string{"b", "a"} }), false},
		"value in the environment":  {change(func(s *Shape) { s.Env = []string{"A=1", "B=3"} }), false},
		"a mount more":              {change(func(s *Shape) { s.Mounts = append([]string{"bind /x"}, s.Mounts...) }), false},
		"user":                      {change(func(s *Shape) { s.User = "1000:0 []" }), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.shape.Fingerprint() == base.Fingerprint(); got != tt.same {
				t.Errorf("same fingerprint: %t, want %t", got, tt.same)
			}
		})
	}
}
