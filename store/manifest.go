package store

import (
	"io/fs"
	"time"
)

// Versions of the manifest that this package writes and reads: that of a checkpoint
// as it was dumped, and that of an encrypted one.
const (
	Schema          = 2
	SchemaEncrypted = 3
)

// Manifest is what is known about a checkpoint, and its commit record. The
// fields up to Dump are the caller's to fill, except those marked as set by
// [Staging.Commit]. Field order is the order in the file.
type Manifest struct {
	// Schema is set by Commit.
	Schema int `json:"schema"`
	// ID is set by Commit. Ids sort by time.
	ID string `json:"id"`
	// Created is the wall clock at commit if the caller leaves it zero. It is
	// for people; nothing is ordered by it.
	Created time.Time `json:"created"`

	// Node, BootID, Kernel, Arch, CPUFeatures, CRIU, Runc and Cgroup say where and with
	// what the dump was made.
	Node        string `json:"node"`
	BootID      string `json:"bootId"`
	Kernel      string `json:"kernel"`
	Arch        string `json:"arch"`
	CPUFeatures string `json:"cpuFeatures"`
	CRIU        string `json:"criu"`
	Runc        string `json:"runc"`
	Cgroup      string `json:"cgroup"`

	// Lineage is set by Commit to that of the staging.
	Lineage

	// PodName to Fingerprint say what was dumped.
	PodName     string `json:"podName"`
	PodUID      string `json:"podUid"`
	SandboxID   string `json:"sandboxId"`
	ContainerID string `json:"containerId"`
	ImageName   string `json:"imageName"`
	ImageDigest string `json:"imageDigest"`
	Fingerprint string `json:"fingerprint"`

	// Trigger and Reason say why.
	Trigger string `json:"trigger"`
	Reason  string `json:"reason"`
	// LeaveRunning is false when the container ended with the dump.
	LeaveRunning bool `json:"leaveRunning"`
	// Parent is the checkpoint this one builds on; empty if it is complete.
	Parent string `json:"parent"`
	// RestoredFrom is the checkpoint the container was restored from, if any.
	RestoredFrom string `json:"restoredFrom"`

	// Set lists what was dumped in one pause, with this container, sorted by
	// container; nil when the container was dumped by itself.
	Set []Member `json:"set,omitempty"`

	// Encryption says how the content is encrypted; nil when it is not.
	Encryption *Encryption `json:"encryption,omitempty"`

	// Pause is how long the container stood still, Dump how long CRIU took.
	Pause time.Duration `json:"pauseNs"`
	Dump  time.Duration `json:"dumpNs"`

	// Bytes is the sum of the sizes of Files; set by Commit.
	Bytes int64 `json:"bytes"`
	// Files lists everything in the checkpoint's directory but the manifest,
	// sorted by path; set by Commit.
	Files []File `json:"files"`
	// KeyID names the key that MAC was made with; set by Commit.
	KeyID string `json:"keyId"`
	// Digest is the SHA-256 of the manifest with this field and MAC empty; set
	// by Commit. It tells damage from forgery.
	Digest string `json:"digest"`
	// MAC is the HMAC-SHA-256 of the manifest with this field empty; set by
	// Commit. It says that this node has written the manifest.
	MAC string `json:"mac"`
}

// Member is one checkpoint of a set: checkpoints of containers of one pod, of the
// same moment. Each member lists all.
type Member struct {
	Container string `json:"container"`
	ID        string `json:"id"`
}

// Encryption says how the content of a checkpoint is encrypted, which then lies in
// the file [ContentName].
type Encryption struct {
	// Scheme names how.
	Scheme string `json:"scheme"`
	// Key is the id of the node's key that DataKey was wrapped with, and DataKey
	// what decrypts the content, in hexadecimal.
	Key     string `json:"key"`
	DataKey string `json:"dataKey"`
	// Bytes is the sum of the sizes of the files in it.
	Bytes int64 `json:"bytes"`
}

// MaxSet is how many checkpoints a set has at most.
const MaxSet = 64

// FileType is the kind of a file in a checkpoint.
type FileType string

// Kinds of files. Those after TypeHardlink occur only under rootfs/;
// TypeHardlink also under shm/.
const (
	TypeFile     FileType = "file"
	TypeDir      FileType = "dir"
	TypeHardlink FileType = "hardlink"
	TypeSymlink  FileType = "symlink"
	TypeFIFO     FileType = "fifo"
	TypeSocket   FileType = "socket"
	TypeWhiteout FileType = "whiteout" // character device 0:0: overlayfs for "deleted"
)

// File is one entry of a checkpoint's directory.
type File struct {
	// Path is relative to the checkpoint, with slashes, and clean.
	Path string `json:"path"`
	// Type is the kind of file.
	Type FileType `json:"type"`
	// Size is the length in bytes of a TypeFile, and 0 for all else.
	Size int64 `json:"size"`
	// Mode has the permission bits and setuid, setgid and sticky as in
	// chmod(2); 0 for hard and symbolic links.
	Mode uint32 `json:"mode"`
	// UID and GID are the owner; 0 for hard links.
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
	// Link is where a symbolic link points, or the path of the first of the
	// names that a hard-linked file has.
	Link string `json:"link,omitempty"`
	// Xattrs is the digest of the extended attributes, empty if there are
	// none that count.
	Xattrs string `json:"xattrs,omitempty"`
	// SHA256 is the digest of the content of a TypeFile, in hexadecimal.
	SHA256 string `json:"sha256,omitempty"`
}

// FileMode returns Mode as Go writes it, without the type.
func (f File) FileMode() fs.FileMode {
	m := fs.FileMode(f.Mode & 0o777)
	for bit, goBit := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if f.Mode&bit != 0 {
			m |= goBit
		}
	}
	return m
}

// Checkpoint is a committed checkpoint as it was when it was listed.
type Checkpoint struct {
	Manifest

	dir string
	sum string
}

// Sum returns the SHA-256 of the manifest's file, in hexadecimal. Whoever has it
// from a checkpoint that was listed needs no key to know the same manifest again.
func (c Checkpoint) Sum() string { return c.sum }

// Dir returns the absolute path of the checkpoint's directory. Nothing in it
// may be changed.
func (c Checkpoint) Dir() string { return c.dir }

// String returns "namespace/workload/container/id".
func (c Checkpoint) String() string { return c.Lineage.String() + "/" + c.ID }
