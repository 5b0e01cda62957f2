package store

import (
	"errors"
	"strings"
)

var (
	// ErrAmbiguous means that several checkpoints start with the prefix.
	ErrAmbiguous = errors.New("prefix is ambiguous")
	// ErrBadID means that a text is not the id of a checkpoint.
	ErrBadID = errors.New("not a checkpoint id")
	// ErrBadName means that a name cannot be a part of a lineage.
	ErrBadName = errors.New("not a valid name")
	// ErrClosed means that the store or the staging is no longer open.
	ErrClosed = errors.New("closed")
	// ErrCorrupt means that a checkpoint is not what its manifest says, or
	// has no sound manifest.
	ErrCorrupt = errors.New("corrupt checkpoint")
	// ErrFormat means that the directory is not a store this version knows.
	ErrFormat = errors.New("unknown store format")
	// ErrInUse means that the checkpoint cannot be removed now.
	ErrInUse = errors.New("checkpoint is in use")
	// ErrKey means that the key with which a checkpoint was sealed is not there.
	// The checkpoint may be sound, but nobody can tell.
	ErrKey = errors.New("no such key")
	// ErrLocked means that another process has the store open.
	ErrLocked = errors.New("store is in use by another process")
	// ErrNoSpace means that the dump would leave too little space or too few
	// inodes.
	ErrNoSpace = errors.New("not enough free space")
	// ErrNotFound means that there is no such checkpoint.
	ErrNotFound = errors.New("no such checkpoint")
	// ErrSchema means that a manifest was written by another version of
	// Rekindle. The checkpoint may be sound, but cannot be used by this one.
	ErrSchema = errors.New("unknown manifest schema")
	// ErrUnsafe means that something on disk is of a kind or owner that the
	// store does not touch.
	ErrUnsafe = errors.New("unsafe file")
	// ErrUnsupported means that the filesystem cannot do something that others
	// can.
	ErrUnsupported = errors.New("the filesystem cannot do that")
)

// Error says what the store was doing, to what, and what a person can do.
type Error struct {
	// Op is the operation, such as "commit" or "verify".
	Op string
	// ID is the checkpoint, if it is about one.
	ID string
	// Path is the file, relative to the checkpoint or absolute, if it is
	// about one.
	Path string
	// Err is the cause; errors.Is sees through to it.
	Err error
	// Hint is a remedy, or empty.
	Hint string
}

// Error renders "op id: path: cause (hint)".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.ID != "" {
		b.WriteString(" " + e.ID)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(escape(e.Path) + ": ")
	}
	b.WriteString(e.Err.Error())
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
