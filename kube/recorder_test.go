package kube

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/agent"
	"github.com/rekindle-dev/rekindle/policy"
)

var (
	web     = agent.Facts{ID: "c1", Name: "app", Namespace: "shop", Pod: "web-0", PodUID: "u1"}
	refused = agent.Decision{Action: agent.ActionCheckpoint, Outcome: agent.Refused, Trigger: policy.Request, Reason: "too soon"}
)

// server answers POSTs of Events with what respond returns, and keeps them.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	posted  []eventsv1.Event
	paths   []string
	respond func(n int) int
}

func newServer(t *testing.T, respond func(n int) int) *server {
	t.Helper()
	s := &server{respond: respond}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		var e eventsv1.Event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Errorf("decode Event: %v", err)
		}
		s.posted, s.paths = append(s.posted, e), append(s.paths, r.URL.Path)
		code := s.respond(len(s.posted))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		if code >= 300 {
			_ = json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: int32(code), Message: "no",
			})
			return
		}
		_ = json.NewEncoder(w).Encode(e)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) received() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.posted)
}

// start runs a recorder that posts to a server, without long pauses.
func start(t *testing.T, s *server) *recorder {
	t.Helper()
	r := newRecorder("node-1", prometheus.NewRegistry())
	r.retry = time.Millisecond
	run(t, r, s)
	return r
}

// run has a recorder post to the server until the test ends.
func run(t *testing.T, r *recorder, s *server) {
	t.Helper()
	if err := r.connect(&rest.Config{Host: s.URL, QPS: -1}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { r.run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("not in time: %s", what)
}

func decided(d agent.Decision) agent.Decision { d.Time = time.Now(); return d }

func TestEventsArePosted(t *testing.T) {
	s := newServer(t, func(n int) int {
		if n <= 2 {
			return http.StatusServiceUnavailable // the API server comes and goes
		}
		return http.StatusCreated
	})
	r := start(t, s)
	r.Decided(web, decided(refused))
	eventually(t, "the third try", func() bool { return s.received() == 3 })
	e := s.posted[2]
	if s.paths[2] != "/apis/events.k8s.io/v1/namespaces/shop/events" || e.Reason != CheckpointRefused || e.Type != "Warning" ||
		e.Note != "container app: too soon" || e.ReportingInstance != "node-1" || e.ReportingController != controller ||
		e.Regarding.Kind != "Pod" || e.Regarding.Name != "web-0" || e.Regarding.UID != "u1" || e.EventTime.IsZero() || e.Action == "" {
		t.Errorf("posted %+v to %s", e, s.paths[2])
	}
	if n := testutil.CollectAndCount(r.dropped); n != 0 {
		t.Errorf("something was dropped")
	}
}

func TestRefusedEventsAreDropped(t *testing.T) {
	s := newServer(t, func(n int) int {
		if n == 1 {
			return http.StatusUnprocessableEntity
		}
		return http.StatusCreated
	})
	r := start(t, s)
	r.Decided(web, decided(refused))
	r.Decided(web, decided(refused))
	eventually(t, "the second Event", func() bool { return s.received() == 2 })
	if got := testutil.ToFloat64(r.dropped.WithLabelValues(droppedRefused)); got != 1 {
		t.Errorf("%v dropped, want 1", got)
	}
}

// A server that has just started knows no roles yet.
func TestForbiddenEventsAreTriedAgain(t *testing.T) {
	s := newServer(t, func(n int) int {
		if n <= 2 {
			return http.StatusForbidden
		}
		return http.StatusCreated
	})
	r := start(t, s)
	r.Decided(web, decided(refused))
	eventually(t, "the third try", func() bool { return s.received() == 3 })
	if n := testutil.CollectAndCount(r.dropped); n != 0 {
		t.Errorf("something was dropped")
	}
}

// Without the role the first Event takes its time, and those after it none.
func TestForbiddenForGood(t *testing.T) {
	s := newServer(t, func(int) int { return http.StatusForbidden })
	r := newRecorder("node-1", prometheus.NewRegistry())
	r.retry, r.patience = time.Millisecond, 20*time.Millisecond
	run(t, r, s)
	for range 3 {
		r.Decided(web, decided(refused))
	}
	eventually(t, "three dropped", func() bool { return testutil.ToFloat64(r.dropped.WithLabelValues(droppedRefused)) == 3 })
	tries := s.received()
	r.Decided(web, decided(refused))
	eventually(t, "the fourth dropped", func() bool { return testutil.ToFloat64(r.dropped.WithLabelValues(droppedRefused)) == 4 })
	if got := s.received(); got != tries+1 {
		t.Errorf("%d tries of the fourth, want 1", got-tries)
	}
}

// An API server that does not answer holds nobody up, however much there is to tell.
func TestHangingServer(t *testing.T) {
	hang := make(chan struct{})
	s := newServer(t, func(int) int { <-hang; return http.StatusCreated })
	t.Cleanup(func() { close(hang) })
	r := start(t, s)
	for i := range 2 * queued {
		f := web
		f.PodUID = string(rune('a' + i)) // each pod has a budget of its own
		r.Decided(f, decided(refused))
	}
	full := testutil.ToFloat64(r.dropped.WithLabelValues(droppedFull))
	if full < queued-1 || full > queued {
		t.Errorf("%v dropped, want the %d that the queue does not hold", full, queued)
	}
}

// A pod in trouble does not flood the API server.
func TestEventsOfAPodAreBounded(t *testing.T) {
	r := newRecorder("n", prometheus.NewRegistry())
	for range 2 * burst {
		r.Decided(web, decided(refused))
	}
	if len(r.queue) != burst {
		t.Errorf("%d Events, want %d", len(r.queue), burst)
	}
	for i := range 3 * budgets {
		r.within(strings.Repeat("p", i))
	}
	if len(r.budget) > budgets {
		t.Errorf("%d budgets are remembered, want at most %d", len(r.budget), budgets)
	}
}
