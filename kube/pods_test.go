package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// asked keeps what the agent is told.
type asked struct {
	mu    sync.Mutex
	calls []string
}

func (a *asked) Asked(_ context.Context, namespace, pod, uid string, annotations map[string]string, changed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, fmt.Sprint(namespace, "/", pod, " ", uid, " ", annotations, " ", changed))
}

func (a *asked) all() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.calls, "\n")
}

func podMetadata(name, version string, annotations map[string]string) metav1.PartialObjectMetadata {
	return metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"},
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "shop", UID: "u-1", ResourceVersion: version,
			Labels: map[string]string{"app": "web"}, Annotations: annotations,
		},
	}
}

// apiServer lists two pods of the node and tells of a change of one.
func apiServer(t *testing.T, changed <-chan metav1.PartialObjectMetadata) *httptest.Server {
	t.Helper()
	list := metav1.PartialObjectMetadataList{
		TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadataList", APIVersion: "meta.k8s.io/v1"},
		ListMeta: metav1.ListMeta{ResourceVersion: "1"},
		Items: []metav1.PartialObjectMetadata{
			podMetadata("web-0", "1", map[string]string{"rekindle.dev/request": "one", "other": "x"}),
			podMetadata("db-0", "1", map[string]string{"other": "x"}),
		},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.URL.Path != "/api/v1/pods" || q.Get("fieldSelector") != "spec.nodeName=node-1" || !strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata") {
			t.Errorf("asked for more than the metadata of this node's pods: %s, %s", r.URL, r.Header.Get("Accept"))
		}
		w.Header().Set("Content-Type", "application/json")
		switch {
		case q.Get("watch") == "":
			_ = json.NewEncoder(w).Encode(list)
		case q.Get("sendInitialEvents") != "":
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure",
				Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity,
			})
		default:
			w.(http.Flusher).Flush()
			for {
				select {
				case <-r.Context().Done():
					return
				case pod := <-changed:
					_ = json.NewEncoder(w).Encode(map[string]any{"type": "MODIFIED", "object": pod})
					w.(http.Flusher).Flush()
				}
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestPodsOfTheNodeAreWatched(t *testing.T) {
	changed := make(chan metav1.PartialObjectMetadata)
	s := apiServer(t, changed)
	a := &asked{}
	p, err := newPods(&rest.Config{Host: s.URL, QPS: -1}, "node-1", a)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { p.run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })

	first := "shop/web-0 u-1 map[rekindle.dev/request:one] false"
	eventually(t, "the pod that asks is looked at", func() bool { return a.all() == first })
	changed <- podMetadata("web-0", "2", map[string]string{"rekindle.dev/request": "two"})
	second := first + "\nshop/web-0 u-1 map[rekindle.dev/request:two] true"
	eventually(t, "its change is looked at", func() bool { return a.all() == second })
}

func TestTrim(t *testing.T) {
	annotations := map[string]string{"rekindle.dev/request": "one", "rekindle.dev/on": "request", "large": strings.Repeat("x", 1<<18)}
	for i := range 1000 {
		annotations[fmt.Sprintf("c%d.rekindle.dev/request", i)] = strings.Repeat("x", 1<<10)
	}
	pod := podMetadata("web-0", "1", annotations)
	pod.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	obj, err := trim(&pod)
	if err != nil {
		t.Fatal(err)
	}
	kept := obj.(*metav1.PartialObjectMetadata)
	if kept.Annotations["rekindle.dev/request"] != "one" || kept.Annotations["rekindle.dev/on"] != "" || len(kept.Annotations) > maxRequests+1 {
		t.Errorf("%d annotations are kept, the request is %q", len(kept.Annotations), kept.Annotations["rekindle.dev/request"])
	}
	if data, err := json.Marshal(kept); err != nil || len(data) > 8<<10 {
		t.Errorf("%d bytes are kept, %v", len(data), err)
	}
	if short(strings.Repeat("a", 100)) == short(strings.Repeat("b", 100)) {
		t.Error("two values became one")
	}
}
