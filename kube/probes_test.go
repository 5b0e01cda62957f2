package kube

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

func execProbe(words ...string) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: words}}}
}

func TestExecProbes(t *testing.T) {
	pod := corev1.Pod{
		TypeMeta:   metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-0", UID: "u1"},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{
				{Name: "app", LivenessProbe: execProbe("alive", "-q"), ReadinessProbe: execProbe("ready")},
				{Name: "http", LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/"}}}},
				{Name: "expands", LivenessProbe: execProbe("alive", "$(PORT)"), ReadinessProbe: execProbe("sh", "-c", "test $PORT")},
			},
			InitContainers: []corev1.Container{{Name: "sidecar", StartupProbe: execProbe("started")}},
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method != http.MethodGet || r.URL.Path != "/api/v1/namespaces/shop/pods/web-0" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(pod)
	}))
	t.Cleanup(server.Close)
	f := &Face{}
	if _, err := f.ExecProbes(context.Background(), "shop", "web-0", "u1", "app"); err == nil {
		t.Error("they are known before there is an API server")
	}
	if err := f.probes.connect(&rest.Config{Host: server.URL}); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		pod, uid, container string
		want                [][]string
		fails               bool
	}{
		"two of them":                        {"web-0", "u1", "app", [][]string{{"alive", "-q"}, {"ready"}}, false},
		"of a sidecar":                       {"web-0", "u1", "sidecar", [][]string{{"started"}}, false},
		"a probe of another kind":            {"web-0", "u1", "http", nil, false},
		"one that the kubelet expands":       {"web-0", "u1", "expands", [][]string{{"sh", "-c", "test $PORT"}}, false},
		"no such container":                  {"web-0", "u1", "other", nil, false},
		"another pod of the same name":       {"web-0", "u2", "app", nil, true},
		"a pod that is not there (any more)": {"web-1", "u1", "app", nil, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := f.ExecProbes(context.Background(), "shop", test.pod, test.uid, test.container)
			if (err != nil) != test.fails || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}
