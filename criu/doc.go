// Package criu holds everything that knows CRIU and how runc drives it: the
// options, freezing, running a dump and a restore within limits, and reading
// what they left behind. It imports nothing else of Rekindle.
//
// Commands are always run through runc, which owns the container's state; CRIU
// itself is found by runc on its PATH.
package criu
