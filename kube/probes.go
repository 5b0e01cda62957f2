package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

var (
	// errNotConnected is returned while there are no credentials.
	errNotConnected = errors.New("the API server is not known yet")
	// errOtherPod is returned for a pod in whose place there is another one, such as
	// the mirror of a static pod.
	errOtherPod = errors.New("the API server knows another pod of that name")
)

// probes reads the exec probes of pods. The runtime is not told of them.
type probes struct {
	client atomic.Pointer[rest.RESTClient]
}

// connect gives it its client.
func (p *probes) connect(config *rest.Config) error {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return fmt.Errorf("prepare client of pods: %w", err)
	}
	c := rest.CopyConfig(config)
	c.APIPath = "/api"
	c.GroupVersion = &corev1.SchemeGroupVersion
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return fmt.Errorf("make client of pods: %w", err)
	}
	p.client.Store(client)
	return nil
}

// ExecProbes returns the commands of the exec probes of a container, as its pod's
// spec has them, but for those that name variables. It asks the API server, within
// the deadline of ctx.
func (f *Face) ExecProbes(ctx context.Context, namespace, pod, uid, container string) ([][]string, error) {
	client := f.probes.client.Load()
	if client == nil {
		return nil, fmt.Errorf("read exec probes: %w", errNotConnected)
	}
	var p corev1.Pod
	if err := client.Get().Namespace(namespace).Resource("pods").Name(pod).Do(ctx).Into(&p); err != nil {
		return nil, fmt.Errorf("read exec probes: %w", err)
	}
	if string(p.UID) != uid {
		return nil, fmt.Errorf("read exec probes: %w", errOtherPod)
	}
	return execProbesOf(&p, container), nil
}

func execProbesOf(p *corev1.Pod, container string) (commands [][]string) {
	for _, c := range append(p.Spec.Containers, p.Spec.InitContainers...) {
		if c.Name != container {
			continue
		}
		for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
			if probe != nil && probe.Exec != nil && !slices.ContainsFunc(probe.Exec.Command, expands) {
				commands = append(commands, probe.Exec.Command)
			}
		}
	}
	return commands
}

// expands tells whether the kubelet puts the value of a variable in place of a part of
// a word: then the word that it runs is another one.
func expands(word string) bool { return strings.Contains(word, "$(") }
