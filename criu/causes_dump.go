package criu

// dumpCauses are what in a container cannot be dumped.
var dumpCauses = []cause{
	{
		// The kernel passes an io_uring to no other process, which is how CRIU
		// collects open files; it passes everything else.
		"io-uring", sign(`send_fds failed \(-22\)|Unknown shit \d+ \(anon_inode:\[io_uring\]\)`),
		"the application uses io_uring, which CRIU cannot dump", "switch io_uring off in the application",
	},
	{
		"mptcp", sign(`inet: Unsupported proto 262 for socket`),
		"the application has an MPTCP socket, which CRIU cannot dump", "for a Go program set GODEBUG=multipathtcp=0 in its environment",
	},
	{
		"in-flight", sign(`In-flight connection \(l\) for`),
		"a connection was being set up", "the next attempt should pass; see that no /etc/criu file changes skip-in-flight",
	},
	{
		"external-unix-socket", sign(`unix: External socket is used\.`),
		"a unix socket of the application is connected to a process outside the container", "close it, or mount no host socket into the container",
	},
	{
		"socket-family", sign(`sockets: BUG! Unknown socket collected \(family \d+\)`),
		"the application has a socket of a family that CRIU does not know, such as vsock (40) or XDP (44)", "close it before a checkpoint",
	},
	{
		"netlink-unread", sign(`netlink: The socket has data to read`),
		"a netlink socket holds an answer that the application has not read", "the next attempt may pass; read such answers at once",
	},
	{
		"udp-corked", sign(`inet: Can't dump corked dgram socket`),
		"the application was putting a UDP packet together (UDP_CORK)", "the next attempt should pass",
	},
	{
		"userfaultfd", sign(`\(anon anon_inode:\[userfaultfd\]\)$`),
		"the application uses userfaultfd, which CRIU cannot dump", "switch it off; virtual machines and some garbage collectors have an option",
	},
	{
		"perf-event", sign(`\(anon anon_inode:\[perf_event\]\)$`),
		"the application measures itself with perf events, which CRIU cannot dump", "switch the profiler off",
	},
	{
		"bpf", sign(`\(anon anon_inode:bpf-(prog|map|link)\)$`),
		"the application holds a BPF program or map, which CRIU cannot dump here", "leave such containers out with rekindle.dev/containers",
	},
	{
		"seccomp-notify", sign(`\(anon anon_inode:seccomp notify\)$`),
		"the application supervises another's system calls (seccomp notify), which CRIU cannot dump", "leave such containers out with rekindle.dev/containers",
	},
	{
		"landlock-ruleset", sign(`\(anon anon_inode:\[landlock-ruleset\]\)$`),
		"the application holds a Landlock ruleset open, which CRIU cannot dump", "close it when it is in force",
	},
	{
		"device", sign(`Can't dump file \d+ of that type \[\d+\] \((chr|blk) \d+:\d+\)$`),
		"the application has a device open whose state CRIU cannot know (its major and minor number are named)", "close it, or leave the container out with rekindle.dev/containers",
	},
	{
		"secret-memory", sign(`Unknown shit \d+ \(/secretmem`),
		"the application has secret memory (memfd_secret), which nobody else can read", "switch it off in the application",
	},
	{
		"ghost-file", sign(`Can't dump ghost file .* of \d+ size, increase limit`),
		"a deleted file that is still open is larger than criu.ghost_limit", "raise criu.ghost_limit in rekindle.toml",
	},
	{
		"hard-link-read-only", sign(`Can't link remap to .*: Read-only file system$`),
		"a name of an open file was deleted, and CRIU cannot give it another on a read-only volume", "close deleted files, or mount the volume writable",
	},
	{
		"hidden-file", sign(`Can't link remap to .*: Invalid cross-device link$`),
		"an open file is hidden by something that was mounted over it", "mount before files are opened, or unmount it",
	},
	{
		"file-elsewhere", sign(`Can't lookup mount=\d+ for fd=\d+ path=`),
		"an open file lies outside the container's mounts, or its mount is gone", "close it: it came from outside, from a message queue, or from a volume that was unmounted meanwhile",
	},
	{
		"watched-file-gone", sign(`fsnotify: \s*Can't dump that handle`),
		"the application watches (inotify, fanotify) a file that is deleted or of a kind that cannot be found again", "stop watching files that are deleted, and anything below /proc and /sys",
	},
	{
		"mqueue", sign(`mqueue isn't empty$`),
		"a POSIX message queue of the pod has messages or exists", "remove the queue (mq_unlink) before a checkpoint",
	},
	{
		"mount-kind", sign(`mnt: FS mnt .* unsupported id \w+$`),
		"something in the container is mounted whose kind CRIU does not know, such as a ramfs, a BPF or a FUSE file system", "unmount it",
	},
	{
		"mount-unshared", sign(`mnt: .* doesn't have a proper root mount$`),
		"below a host directory in the container something else is mounted on the host", "mount the directories that are needed one by one, or without what is below",
	},
	{
		"mount-propagation", sign(`has unreachable sharing\. Try --enable-external-masters`),
		"a volume shares its mounts with the host in a way that CRIU cannot follow", "set mountPropagation: None",
	},
	{
		"chroot", sign(`mnt: Can't parse \d+'s mountinfo`),
		"a process has changed its root to a directory that is no mount, or is gone", "do not chroot into a directory that is removed",
	},
	{
		"nested-namespace", sign(`Can't dump nested (user|pid|uts|ipc|cgroup|time) namespace for \d+`),
		"a process of the application has a namespace of its own, as sandboxes and container tools make them", "switch the application's sandbox off",
	},
	{
		"nested-network", sign(`net: Unable to dump more than one netns`),
		"a process of the application has a network of its own", "switch the application's sandbox off",
	},
	{
		"traced", sign(`zombie \d+ \(comm .*\) found while seizing$`),
		"a process of the container is traced by a debugger or by another process", "end the debugger (strace, gdb, a sanitizer) and try again",
	},
	{
		"leader-ended", sign(`Zombies with threads are not supported$`),
		"the first thread of a process has ended while others go on", "keep the main thread: have it wait for the others",
	},
	{
		"uninterruptible", sign(`Unseizable non-zombie \d+ found, state D,`),
		"a process waits in the kernel and cannot be stopped: for a disk, a network file system, or a child that it made by vfork", "look at its /proc/PID/stack on the node; the next attempt may pass",
	},
}
