// Package plugin is the NRI face of the daemon: it turns the runtime's events
// into facts for package agent, and the agent's answer into adjustments of the
// spec. It decides nothing and keeps no state.
package plugin
