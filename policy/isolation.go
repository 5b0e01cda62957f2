package policy

// Isolation is what a container shares with the node or with the other
// containers of its pod, and what it has to itself beyond that.
type Isolation struct {
	// HostPID, HostNetwork and HostIPC are set for a namespace of the node's.
	HostPID, HostNetwork, HostIPC bool
	// SharedPID is set for a process namespace that the pod's containers share.
	SharedPID bool
	// OwnUsers is set for a user namespace of the pod's own.
	OwnUsers bool
}

// Refusal says why such a container cannot be checkpointed at all; it is empty
// when it can.
func (i Isolation) Refusal() string {
	switch {
	case i.SharedPID:
		return "its process namespace is shared with other containers; CRIU needs the process ids of the checkpoint to be free"
	case i.OwnUsers:
		return "it has a user namespace (hostUsers: false), which is not supported"
	case i.HostPID:
		return "it is in the host's process namespace (hostPID); CRIU needs the process ids of the checkpoint to be free"
	case i.HostNetwork:
		return "it is in the host's network namespace (hostNetwork); its ports and connections belong to the node"
	case i.HostIPC:
		return "it is in the host's IPC namespace (hostIPC)"
	}
	return ""
}

// OptedIn says why a container is managed, and NoHandler why nothing comes of
// it nevertheless.
const (
	OptedIn   = "the pod opted in by annotation"
	NoHandler = "the pod does not run on the rekindle runtime handler; set runtimeClassName"
)
