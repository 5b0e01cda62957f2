package plugin

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rekindle-dev/rekindle/agent"
	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/store"
)

// noImages knows no image.
type noImages struct{}

func (noImages) Digest(context.Context, string) (string, error) {
	return "", errors.New("no such image")
}

func newPlugin(t *testing.T) *Plugin {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	a := agent.New(context.Background(), conf.Default(), s, agent.Node{}, agent.NewMetrics(prometheus.NewRegistry()))
	return New(a, noImages{})
}

func isolated() *api.LinuxContainer {
	l := &api.LinuxContainer{}
	for _, kind := range []string{"pid", "ipc", "uts", "mount", "network"} {
		ns := &api.LinuxNamespace{Type: kind}
		if kind == "network" {
			ns.Path = "/proc/1/ns/net"
		}
		l.Namespaces = append(l.Namespaces, ns)
	}
	return l
}

// I8: what a tenant wrote under our names, or runc's, never reaches the spec,
// whether the container is managed or not.
func TestTenantsCopiesAreStripped(t *testing.T) {
	p := newPlugin(t)
	c := &api.Container{
		Id: "c1", Name: "app", Linux: isolated(),
		Annotations: map[string]string{
			"org.criu.config":                   "/etc/shadow",
			"internal.rekindle.dev/managed":     "1",
			"internal.rekindle.dev/anything":    "x",
			"io.kubernetes.cri.image-name":      "image",
			"something.else/that-is-none-of-us": "kept",
		},
	}
	adjustment, _, err := p.CreateContainer(context.Background(), &api.PodSandbox{Id: "s1", Name: "p", Namespace: "n"}, c)
	if err != nil {
		t.Fatal(err)
	}
	removed := map[string]bool{}
	for key := range adjustment.GetAnnotations() {
		name, marked := api.IsMarkedForRemoval(key)
		if !marked {
			t.Errorf("%s was set on a container that is not managed", key)
		}
		removed[name] = true
	}
	for _, key := range []string{"org.criu.config", "internal.rekindle.dev/managed", "internal.rekindle.dev/anything"} {
		if !removed[key] {
			t.Errorf("%s stays", key)
		}
	}
	if len(removed) != 3 {
		t.Errorf("removed %v, want the three only", removed)
	}
	if adjustment.GetMounts() != nil || adjustment.GetHooks() != nil || adjustment.GetLinux() != nil {
		t.Error("more than annotations was adjusted")
	}
}

func TestRefusal(t *testing.T) {
	namespaces := func(list ...string) (out []*api.LinuxNamespace) {
		for _, ns := range list {
			kind, path, _ := strings.Cut(ns, "=")
			out = append(out, &api.LinuxNamespace{Type: kind, Path: path})
		}
		return out
	}
	// What containerd shows of pods.
	ordinary := []string{"pid", "ipc", "uts", "mount", "network=/run/netns/a"}
	inSandbox := []string{"pid", "ipc=/proc/7/ns/ipc", "uts=/proc/7/ns/uts", "mount", "network=/proc/7/ns/net"}
	tests := map[string]struct {
		sandbox, container []string
		want               string
	}{
		"ordinary":                        {ordinary, inSandbox, ""},
		"ordinary, sandbox not shown":     {nil, inSandbox, ""},
		"hostNetwork":                     {[]string{"pid", "ipc", "mount"}, inSandbox, "hostNetwork"},
		"hostIPC":                         {[]string{"pid", "uts", "mount", "network=/run/netns/a"}, inSandbox, "hostIPC"},
		"hostPID":                         {[]string{"ipc", "uts", "mount", "network=/run/netns/a"}, append([]string{"pid=/proc/7/ns/pid"}, inSandbox[1:]...), "hostPID"},
		"shareProcessNamespace":           {ordinary, append([]string{"pid=/proc/7/ns/pid"}, inSandbox[1:]...), "shared with other containers"},
		"shared pid, sandbox not shown":   {nil, append([]string{"pid=/proc/7/ns/pid"}, inSandbox[1:]...), "shared with other containers"},
		"user namespace of its own":       {append([]string{"user"}, ordinary...), append([]string{"user=/proc/7/ns/user"}, inSandbox...), "hostUsers"},
		"no pid namespace at all":         {nil, []string{"ipc", "uts", "mount", "network"}, "hostPID"},
		"no network namespace at all":     {ordinary, []string{"pid", "ipc", "uts", "mount"}, "hostNetwork"},
		"no IPC namespace at all":         {ordinary, []string{"pid", "uts", "mount", "network"}, "hostIPC"},
		"a namespace that is not its pod": {ordinary, []string{"pid", "ipc", "mount", "network"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &api.PodSandbox{Linux: &api.LinuxPodSandbox{Namespaces: namespaces(tt.sandbox...)}}
			got := isolation(pod, &api.Container{Linux: &api.LinuxContainer{Namespaces: namespaces(tt.container...)}}).Refusal()
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestGrace(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"30": 30 * time.Second, "0": leastGrace, "1": leastGrace, "": 0, "-1": 0, "soon": 0, "99999999999": 0,
	} {
		if got := grace(value); got != want {
			t.Errorf("grace(%q)=%s, want %s", value, got, want)
		}
	}
}

// The mask may hold no event that containerd 2.0's NRI does not know.
func TestEventsAreOldOnes(t *testing.T) {
	old := mask(
		api.Event_RUN_POD_SANDBOX, api.Event_STOP_POD_SANDBOX, api.Event_REMOVE_POD_SANDBOX,
		api.Event_CREATE_CONTAINER, api.Event_POST_CREATE_CONTAINER, api.Event_START_CONTAINER,
		api.Event_POST_START_CONTAINER, api.Event_UPDATE_CONTAINER, api.Event_POST_UPDATE_CONTAINER,
		api.Event_STOP_CONTAINER, api.Event_REMOVE_CONTAINER,
	)
	if events&^old != 0 {
		t.Errorf("mask %b asks for events that are not in %b", events, old)
	}
}
