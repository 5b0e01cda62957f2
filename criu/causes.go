package criu

import (
	"regexp"
	"sync"
)

// cause is a known failure of CRIU or runc.
type cause struct {
	// name is what its captured logs in testdata are filed under.
	name string
	// sign gives it away: it matches one line of a log. Words in brackets in a
	// line are often the workload's (paths, program names), so a sign has CRIU's
	// own words around them.
	sign expression
	// what says in words what happened, and remedy what to do.
	what, remedy string
}

// expression is compiled when it is needed first: the executor, in the way of
// every wake, needs none unless something fails.
type expression func() *regexp.Regexp

func sign(pattern string) expression {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

func (e expression) matches(text string) bool { return e().MatchString(text) }

// causesOf returns the known failures of a dump or a restore.
func causesOf(op string) [][]cause {
	if op == "dump" {
		return [][]cause{dumpCauses, runCauses}
	}
	return [][]cause{restoreCauses, runCauses}
}

// causeOf returns the known failure that a line gives away, or nil.
func causeOf(op, line string) *cause {
	for _, table := range causesOf(op) {
		for i := range table {
			if table[i].sign.matches(line) {
				return &table[i]
			}
		}
	}
	return nil
}

// runCauses are failures to run CRIU at all, and those of the node. A dump and a
// restore have them alike.
var runCauses = []cause{
	{
		"criu-missing", sign(`exec: "criu": executable file not found|criu: not found`),
		"runc finds no criu", "install CRIU 4.2 or newer on the PATH of containerd",
	},
	{
		"criu-broken", sign(`^CRIU version check failed: read criu-xprt`),
		"the criu on the PATH does not work", "run criu check and rekindle check on the node, as root",
	},
	{
		"no-space", sign(`: No space left on device$`),
		"the store's file system is full", "free space on it, or lower keep",
	},
	{
		"no-memory", sign(`: Cannot allocate memory$`),
		"the kernel had no memory left for it", "raise the container's memory limit, or free memory on the node",
	},
	{
		"too-slow", sign(`: ` + ErrTimeout.Error() + `$`),
		"CRIU did not end in time, because of much memory, a slow disk or a process that it cannot stop",
		"raise limits.dump_timeout or limits.restore_timeout; before a dump, continue stopped processes of the container",
	},
}
