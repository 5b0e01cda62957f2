// Package activity sees, from outside, what a container does: the data on its
// connections, its datagrams, the CPU time and the disk I/O of its own processes,
// and its timers. It reads counters of the kernel, and neither stops nor traces
// anything. What probes of the kubelet cause is told apart.
//
// A Watch is kept for each container. Each Look at it tells what has happened
// since the one before. Whether that is much or little is for others to say.
package activity
