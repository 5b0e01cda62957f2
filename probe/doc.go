// Package probe answers the kubelet's probes in the place of a container that is
// suspended, so that they neither wake it nor fail.
//
// A probe is known by what it does, and no more is answered than that: a
// connection that is closed without a byte is a TCP probe; a GET request with the
// kubelet's User-Agent is an HTTP probe; a call of the gRPC health service with
// that User-Agent is a gRPC probe. They get the answer that the container gave
// last, which was a good one, or it would not have been suspended. Everything
// else is for the container, from its first byte on.
package probe
