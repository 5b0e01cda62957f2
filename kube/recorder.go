package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/containerd/log"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/agent"
)

const (
	// queued is how many Events may wait for the API server.
	queued = 256
	// postTimeout bounds one attempt.
	postTimeout = 10 * time.Second
	// worthPosting is how old an Event may become; an older one says nothing
	// about the pod as it is.
	worthPosting = 5 * time.Minute
	firstRetry   = time.Second
	lastRetry    = 10 * time.Second
	// rolesRead is how long an API server that has just started may forbid what it
	// will allow when it has read the roles.
	rolesRead = 15 * time.Second

	// A pod may have so many Events at once, and one more in each period after
	// that: what client-go's own recorder allows.
	burst  = 25
	period = 5 * time.Minute
	// budgets is for how many pods that is remembered.
	budgets = 1024
)

// recorder posts Events. client-go's recorders keep a goroutine for each Event
// that waits for the API server and bring the types of all of its groups along;
// this one has one goroutine and one queue.
type recorder struct {
	node   string
	queue  chan *eventsv1.Event
	client rest.Interface
	retry  time.Duration
	// patience is how long an Event is tried again that is forbidden.
	patience time.Duration
	dropped  *prometheus.CounterVec

	mu     sync.Mutex
	budget map[string]*rate.Limiter
}

// Why an Event was not posted, for the metric.
const (
	droppedFull    = "queue-full"
	droppedRate    = "rate"
	droppedRefused = "refused"
	droppedOld     = "too-old"
)

func newRecorder(node string, r prometheus.Registerer) *recorder {
	rec := &recorder{
		node: node, queue: make(chan *eventsv1.Event, queued), retry: firstRetry, patience: rolesRead, budget: map[string]*rate.Limiter{},
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rekindle_events_dropped_total", Help: "Kubernetes Events that were not posted, by reason.",
		}, []string{"reason"}),
	}
	r.MustRegister(rec.dropped)
	return rec
}

// connect gives the recorder its client, once.
func (r *recorder) connect(config *rest.Config) error {
	scheme := runtime.NewScheme()
	if err := eventsv1.AddToScheme(scheme); err != nil {
		return fmt.Errorf("prepare client of Events: %w", err)
	}
	c := rest.CopyConfig(config)
	c.APIPath = "/apis"
	c.GroupVersion = &eventsv1.SchemeGroupVersion
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return fmt.Errorf("make client of Events: %w", err)
	}
	r.client = client
	return nil
}

// Decided puts the Event of a decision, if there is one, into the queue.
func (r *recorder) Decided(f agent.Facts, d agent.Decision) {
	e := eventOf(r.node, f, d)
	if e == nil {
		return
	}
	if !r.within(f.PodUID) {
		r.dropped.WithLabelValues(droppedRate).Inc()
		return
	}
	select {
	case r.queue <- e:
	default:
		r.dropped.WithLabelValues(droppedFull).Inc()
	}
}

// within takes one Event from a pod's budget.
func (r *recorder) within(pod string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.budget[pod]; !known {
		if len(r.budget) >= budgets {
			clear(r.budget)
		}
		r.budget[pod] = rate.NewLimiter(rate.Every(period), burst)
	}
	return r.budget[pod].Allow()
}

// run posts what is queued, one after the other, until ctx ends.
func (r *recorder) run(ctx context.Context) {
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-r.queue:
			why, err := r.post(ctx, e, !failing)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				if failing {
					log.G(ctx).Info("Events are posted again")
				}
				failing = false
				continue
			}
			r.dropped.WithLabelValues(why).Inc()
			if failing || apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
				continue // told already, or the namespace is going, which says nothing of others
			}
			failing = true
			log.G(ctx).WithError(err).Warn("Events cannot be posted; they are dropped until they can")
		}
	}
}

// post tries until the Event is taken, refused for good, or too old. With patient
// it takes being forbidden for good only after a while.
func (r *recorder) post(ctx context.Context, e *eventsv1.Event, patient bool) (why string, err error) {
	var forbidden time.Time
	for pause := r.retry; ; pause = min(2*pause, lastRetry) {
		err := r.try(ctx, e)
		if patient && mayPass(err) && forbidden.IsZero() {
			forbidden = time.Now()
		}
		switch {
		case err == nil || apierrors.IsAlreadyExists(err):
			return "", nil
		case mayPass(err) && !forbidden.IsZero() && time.Since(forbidden) < r.patience:
		case final(err):
			return droppedRefused, err
		case time.Since(e.EventTime.Time) > worthPosting:
			return droppedOld, err
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (r *recorder) try(ctx context.Context, e *eventsv1.Event) error {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	if err := r.client.Post().Namespace(e.Namespace).Resource("events").Body(e).Do(ctx).Error(); err != nil {
		return fmt.Errorf("post Event: %w", err)
	}
	return nil
}

// mayPass tells of a refusal that it may be one of a server which has just started.
func mayPass(err error) bool {
	return apierrors.IsForbidden(err) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// final tells whether the API server has understood and refused.
func final(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout && code != http.StatusUnauthorized
}
