package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/log"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/rekindle-dev/rekindle/policy"
)

const (
	// resync is how often all pods that ask for something are looked at again.
	resync = 10 * time.Minute
	// settling is how long a pod's changes are collected before they are looked
	// at, so that who changes an annotation all the time costs little.
	settling = 300 * time.Millisecond
	// answering is for how many pods checkpoints are made at once; how many dumps
	// run is limited by the agent.
	answering = 4
	// maxRequests bounds the request annotations of one pod, beside that for all
	// of its containers.
	maxRequests = 64
)

var requestKey = policy.Domain + "/" + policy.KeyRequest

// pods watches the metadata of this node's pods for the request annotation.
type pods struct {
	agent    Agent
	informer cache.SharedIndexInformer
	queue    workqueue.TypedDelayingInterface[cache.ObjectName]
	// failing is set while the pods cannot be watched.
	failing atomic.Bool

	mu sync.Mutex
	// changed are the pods in the queue whose annotation was seen to change.
	changed map[cache.ObjectName]bool
}

func newPods(config *rest.Config, node string, a Agent) (*pods, error) {
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	resource := client.Resource(corev1.SchemeGroupVersion.WithResource("pods"))
	selector := fields.OneTermEqualSelector("spec.nodeName", node).String()
	p := &pods{
		agent: a, changed: map[cache.ObjectName]bool{},
		queue: workqueue.NewTypedDelayingQueue[cache.ObjectName](),
	}
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector
			return resource.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector
			return resource.Watch(ctx, o)
		},
	}
	p.informer = cache.NewSharedIndexInformer(source, &metav1.PartialObjectMetadata{}, resync, nil)
	err = errors.Join(p.informer.SetTransform(trim), p.informer.SetWatchErrorHandlerWithContext(p.watchFailed))
	if err == nil {
		_, err = p.informer.AddEventHandler(p)
	}
	if err != nil {
		return nil, fmt.Errorf("prepare informer: %w", err)
	}
	return p, nil
}

// trim leaves of a pod what it is known by and what it asks for, so that what
// is kept of all pods is small whatever tenants write.
func trim(obj any) (any, error) {
	pod, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil // the last known state of a pod that is gone was trimmed before
	}
	kept := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
	}}
	for _, key := range slices.Sorted(maps.Keys(pod.Annotations)) {
		if key != requestKey && (!strings.HasSuffix(key, "."+requestKey) || len(kept.Annotations) >= maxRequests) {
			continue
		}
		if kept.Annotations == nil {
			kept.Annotations = map[string]string{}
		}
		kept.Annotations[key] = short(pod.Annotations[key])
	}
	return kept, nil
}

// short stands for a value of which only a change means something.
func short(value string) string {
	if len(value) <= 2*sha256.Size {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}

// run watches and answers until ctx ends.
func (p *pods) run(ctx context.Context) {
	var workers sync.WaitGroup
	for range answering {
		workers.Go(func() {
			for p.next(ctx) {
			}
		})
	}
	p.informer.RunWithContext(ctx)
	p.queue.ShutDown()
	workers.Wait()
}

// OnAdd looks at a pod that is new to the daemon.
func (p *pods) OnAdd(obj any, _ bool) { p.look(obj, false) }

// OnUpdate looks at a pod that has changed, or has not for a while.
func (p *pods) OnUpdate(before, now any) {
	old, ok := before.(*metav1.PartialObjectMetadata)
	pod, ok2 := now.(*metav1.PartialObjectMetadata)
	p.look(now, ok && ok2 && old.UID == pod.UID && !maps.Equal(old.Annotations, pod.Annotations))
}

// OnDelete does nothing: a pod that is gone asks for nothing.
func (p *pods) OnDelete(any) {}

func (p *pods) look(obj any, changed bool) {
	if p.failing.Swap(false) {
		log.L.Info("the pods of this node are watched again")
	}
	pod, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok || len(pod.Annotations) == 0 {
		return
	}
	name := cache.MetaObjectToName(pod)
	if changed {
		p.mu.Lock()
		p.changed[name] = true
		p.mu.Unlock()
	}
	p.queue.AddAfter(name, settling)
}

// next answers one pod. The queue sees to it that no two do so for one pod.
func (p *pods) next(ctx context.Context) bool {
	name, down := p.queue.Get()
	if down {
		return false
	}
	defer p.queue.Done(name)
	p.mu.Lock()
	changed := p.changed[name]
	delete(p.changed, name)
	p.mu.Unlock()
	obj, found, err := p.informer.GetStore().GetByKey(name.String())
	pod, ok := obj.(*metav1.PartialObjectMetadata)
	if err == nil && found && ok && ctx.Err() == nil {
		p.agent.Asked(ctx, pod.Namespace, pod.Name, string(pod.UID), pod.Annotations, changed)
	}
	return true
}

// watchFailed tells once that the pods cannot be watched. The informer tries
// again by itself, ever more rarely, at least twice a minute.
func (p *pods) watchFailed(ctx context.Context, _ *cache.Reflector, err error) {
	ordinary := errors.Is(err, io.EOF) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err)
	if ordinary || ctx.Err() != nil || p.failing.Swap(true) {
		return
	}
	log.G(ctx).WithError(err).Warn("the pods of this node cannot be watched; no requests by annotation until they can")
}
