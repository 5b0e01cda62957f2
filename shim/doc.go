// Package shim wraps containerd's runc task service. It restores a container
// inside Create when the daemon left a ticket for it, and dumps one when the
// daemon asks, keeping exec and kill out meanwhile. Containers without the
// plugin's mark pass through untouched.
//
// There is one shim for each pod, so nothing is decided, hashed or compressed
// here, and no memory is held that the wrapped service does not need.
package shim
