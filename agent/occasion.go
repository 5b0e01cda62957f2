package agent

import (
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// signalled is what the runtime adds to the number of the signal that ended a
// process, to make an exit status.
const signalled = 128

// noOccasion says why a create is none to restore at; it is empty when it is
// one: after a fault in the same pod, or in a new pod.
func noOccasion(mode policy.RestoreMode, previous *tracked) string {
	switch {
	case mode == policy.RestoreNever:
		return "restoring is switched off (rekindle.dev/restore: never)"
	case previous == nil && mode == policy.RestoreFault:
		return "this is a new pod, and rekindle.dev/restore is fault"
	case previous == nil:
		return ""
	}
	if e := previous.exit(); e != nil && e.Status == 0 && !e.Asked {
		return "the container before this one ended by itself with exit code 0"
	}
	if mode == policy.RestoreSuccessor {
		return "this is the same pod, and rekindle.dev/restore is successor"
	}
	return ""
}

// causeOf says in words why a container is created.
func causeOf(previous *tracked) string {
	if previous == nil {
		return "in a new pod"
	}
	e := previous.exit()
	switch {
	case e == nil:
		return "after an end that nobody saw"
	case e.OOM:
		return "after an out-of-memory kill"
	case e.Asked:
		return "after a stop within the pod, as by a failed liveness probe"
	case e.Status > signalled:
		return fmt.Sprintf("after signal %d", e.Status-signalled)
	}
	return fmt.Sprintf("after exit code %d", e.Status)
}

// ranOut tells whether a container ended for want of memory.
func ranOut(previous *tracked) bool {
	if previous == nil {
		return false
	}
	e := previous.exit()
	return e != nil && e.OOM
}

// preferOlder puts, after a kill within the pod, the checkpoints that are older
// than the kill by the margin before the newer ones.
func preferOlder(list []store.Checkpoint, e *api.Exit, margin time.Duration) []store.Checkpoint {
	if e == nil || !e.Asked {
		return list
	}
	limit := e.At.Add(-margin)
	older, newer := []store.Checkpoint{}, []store.Checkpoint{}
	for _, c := range list {
		if c.Created.After(limit) {
			newer = append(newer, c)
		} else {
			older = append(older, c)
		}
	}
	return append(older, newer...)
}
