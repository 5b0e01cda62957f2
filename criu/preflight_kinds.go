package criu

// Kinds that are asked for by name.
const (
	kindStopped = "stopped"
	kindTraced  = "traced"
)

// kinds are all that a preflight can find, the worst first. What CRIU 4.2.1
// makes of each was tried: see docs/decisions/0011-preflight.md.
var kinds = []Finding{
	{"io_uring", Blocker, "io_uring is in use", "switch it off in the application"},
	{"mptcp", Blocker, "an MPTCP socket is open", "for a Go program set GODEBUG=multipathtcp=0 in its environment"},
	{"unix", Blocker, "a unix socket is connected to outside the container", "close the connection before the checkpoint, or mount no sockets of others"},
	{"socket", Blocker, "a socket is of a kind that CRIU does not know", "close it, or leave this container out (rekindle.dev/containers)"},
	{"object", Blocker, "an object of the kernel is open that CRIU does not know", "switch off what uses it in the application, or leave this container out (rekindle.dev/containers)"},
	{"device", Blocker, "a device is in use that CRIU does not know", "leave this container out (rekindle.dev/containers)"},
	{"inotify", Blocker, "a file or directory of the image is watched with inotify", "watch one on a volume or a tmpfs instead"},
	{"deleted", Blocker, "a deleted file that is still open is larger than criu.ghost_limit", "raise criu.ghost_limit on the node, or close the file"},
	{"unlinked", Blocker, "an open file was deleted under the name it was opened by, but has another", "close it; the checkpoint would not restore"},
	{"namespace", Blocker, "a process is in a namespace of its own", "let the application run without a sandbox of its own, or leave this container out (rekindle.dev/containers)"},
	{"mount", Blocker, "a mount of the node's is below a volume that CRIU cannot describe", "mount a narrower directory of the node than / or /run"},
	{kindStopped, Blocker, "a process is stopped, for which CRIU would wait", "continue the process (SIGCONT)"},
	{kindTraced, Blocker, "a process is being traced, for whose end CRIU would wait", "end the debugger or tracer"},
	{"limits", Blocker, "processes of another user cannot be dumped on a node without CAP_SYS_RESOURCE", "run the container as root, or give the node's services that capability"},
	{"sysv", Loss, "System V shared memory, semaphores or message queues are in use, which a container created again in the same pod still finds there: it starts cold", "only a successor pod can be restored; use the trigger stop"},
	{"connection", Loss, "established TCP connections are closed by a restore", "the application or its clients have to connect again"},
	{"volume", Loss, "what is on writable volumes is not in a checkpoint", "a restored process finds them as they are then; use the trigger stop when that does not suit it"},
	{"rootfs", Loss, "the root file system is not an overlay, and changes to it are not in a checkpoint", "use the overlayfs snapshotter on the node"},
	{"hugepages", Note, "huge pages are in use", "a node that restores the container needs as many free ones"},
	{"uninterruptible", Note, "a process waits in the kernel and cannot be frozen meanwhile", "try again; if it stays so, see which device or file system it waits for"},
	{"incomplete", Note, "not everything was looked at", ""},
}

// Kinds returns the kinds of findings there are, a closed list.
func Kinds() []string {
	list := make([]string, 0, len(kinds))
	for _, k := range kinds {
		list = append(list, k.Kind)
	}
	return list
}

// Known returns what a preflight would say of a kind, without an example; the
// zero value when there is no such kind.
func Known(kind string) Finding {
	for _, k := range kinds {
		if k.Kind == kind {
			return k
		}
	}
	return Finding{}
}
