// Package api is the contract between Rekindle's processes: the ttrpc services
// of the daemon and of the shim, and the run directory through which the
// daemon, the shim and the executor hand one container's facts to each other.
//
// The run directory is used where a call would be too slow or too fragile: NRI
// gives the daemon two seconds under a node-wide lock, the executor is a
// process of its own, and a container must start while the daemon is down.
package api

//go:generate protoc -I . --go_out=. --go_opt=paths=source_relative --go-ttrpc_out=. --go-ttrpc_opt=paths=source_relative shim.proto daemon.proto
