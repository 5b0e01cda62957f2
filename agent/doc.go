// Package agent is the daemon's core: it knows the node's containers, decides
// whether and from what a new one is restored, makes checkpoints through the
// shims, keeps the reasons of every decision, and answers the command line.
// What the runtime reports reaches it through package plugin.
package agent
