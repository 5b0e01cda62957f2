// Package kube is the Kubernetes face of the daemon, for nodes where it has
// credentials: it tells package agent what the pods of this node ask for with
// the request annotation, and makes Events of what the agent decided. It
// decides nothing.
//
// The API server may be slow, away, or refuse. So what goes to it passes through
// bounded queues, and is dropped, counted, and told once when they are full. Nothing
// of the agent waits for this package, but for a suspension that is about to begin,
// for a second at most: what the container's exec probes are is in the pod's spec.
package kube
