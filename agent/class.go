package agent

import (
	"context"
	"errors"
	"slices"

	"github.com/rekindle-dev/rekindle/crypt"
	"github.com/rekindle-dev/rekindle/store"
)

// Class sorts the reasons of decisions, which are free text, into a closed set:
// the values of a metric's label, and what programs may compare.
type Class string

// The classes.
const (
	// ClassNone is that of a decision with nothing to explain.
	ClassNone Class = "none"
	// ClassOther is that of a reason without a class of its own.
	ClassOther Class = "other"

	ClassBandwidth   Class = "bandwidth"   // the node has written what limits.bandwidth allows
	ClassBusy        Class = "busy"        // other dumps did not end in time
	ClassDamaged     Class = "damaged"     // the checkpoint does not verify
	ClassDone        Class = "done"        // there is such a checkpoint already
	ClassDump        Class = "dump"        // the shim, runc or CRIU could not dump
	ClassEnded       Class = "ended"       // the container ended meanwhile
	ClassExpired     Class = "expired"     // nobody will use the checkpoint any more
	ClassHandler     Class = "handler"     // the pod is not on the rekindle runtime handler
	ClassKey         Class = "key"         // there is no key to encrypt with
	ClassMemory      Class = "memory"      // too little is left of the memory limit, or of the node's memory
	ClassNoneYet     Class = "none-yet"    // there is no checkpoint yet
	ClassNoOccasion  Class = "no-occasion" // this create is none to restore at
	ClassPolicy      Class = "policy"      // annotations and config do not allow it
	ClassQuota       Class = "quota"       // there is as much as a quota allows
	ClassRate        Class = "rate"        // asked for too often
	ClassRequest     Class = "request"     // somebody asked for it
	ClassRestore     Class = "restore"     // the shim, runc or CRIU could not restore
	ClassSet         Class = "set"         // the containers of the pod cannot be checkpointed together
	ClassSpace       Class = "space"       // not enough free space
	ClassStore       Class = "store"       // the store could not read or write
	ClassTimeout     Class = "timeout"     // it took too long
	ClassUnchanged   Class = "unchanged"   // the last checkpoint is as good as another
	ClassUnmanaged   Class = "unmanaged"   // the container is not managed, or was not when it was created
	ClassUnsettled   Class = "unsettled"   // the restored container has not settled
	ClassUnsupported Class = "unsupported" // the container cannot be checkpointed
	ClassUnusable    Class = "unusable"    // there are checkpoints, and none can be used
)

var classes = []Class{
	ClassNone, ClassOther, ClassBandwidth, ClassBusy, ClassDamaged, ClassDone, ClassDump, ClassEnded, ClassExpired, ClassHandler,
	ClassKey, ClassMemory, ClassNoneYet, ClassNoOccasion, ClassPolicy, ClassQuota, ClassRate, ClassRequest, ClassRestore, ClassSet, ClassSpace, ClassStore,
	ClassTimeout, ClassUnchanged, ClassUnmanaged, ClassUnsettled, ClassUnsupported, ClassUnusable,
}

// Classes returns all classes.
func Classes() []Class { return slices.Clone(classes) }

// classified returns the class of a decision, which is always a known one.
func classified(d Decision) Class {
	switch {
	case d.Class == "" && d.Outcome == Taken:
		return ClassNone
	case !slices.Contains(classes, d.Class):
		return ClassOther
	}
	return d.Class
}

// classOf sorts an error.
func classOf(err error) Class {
	var sk *skip
	switch {
	case errors.As(err, &sk):
		return sk.class
	case errors.Is(err, ErrNoShim):
		return ClassHandler
	case errors.Is(err, ErrNotRunning):
		return ClassEnded
	case errors.Is(err, errQuota):
		return ClassQuota
	case errors.Is(err, errNoKeys):
		return ClassKey
	case errors.Is(err, crypt.ErrNoMemory):
		return ClassMemory
	case errors.Is(err, store.ErrNoSpace):
		return ClassSpace
	case errors.Is(err, store.ErrCorrupt):
		return ClassDamaged
	case errors.Is(err, context.DeadlineExceeded):
		return ClassTimeout
	case errors.Is(err, errDump):
		return ClassDump
	}
	var s *store.Error
	if errors.As(err, &s) {
		return ClassStore
	}
	return ClassOther
}
