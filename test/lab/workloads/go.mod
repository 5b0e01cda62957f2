module github.com/rekindle-dev/rekindle/test/lab/workloads

go 1.26.0

// Go listens with MPTCP where the kernel has it, and CRIU cannot dump such a
// socket.
godebug multipathtcp=0
