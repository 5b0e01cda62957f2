// Package kube is the Kubernetes face of the daemon, for nodes where it has
// credentials: it tells package agent what the pods of this node ask for with
// the request annotation, and makes Events of what the agent decided. It
// decides nothing.
//
// The API server may be slow, away, or refuse. So nothing of the agent ever
// waits for this package: what goes to the API server passes through bounded
// queues and is dropped, counted, and told once when they are full.
package kube
