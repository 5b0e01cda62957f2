package archive

import (
	"regexp"

	metadata "github.com/checkpoint-restore/checkpointctl/lib"
)

// Names in an archive that checkpointctl's library does not have.
const (
	// claimsFile is ours; other tools pass it over.
	claimsFile = "rekindle.json"
	// statsFile is CRIU's.
	statsFile = "stats-dump"
	// specFile is the spec's name in a checkpoint.
	specFile = "config.json"
	// imagesDir is the name of the CRIU directory in a checkpoint.
	imagesDir = "criu"
)

// kept are the files of an archive that become part of a checkpoint, by the name
// that they have there.
var kept = map[string]string{
	metadata.SpecDumpFile: specFile,
	metadata.DumpLogFile:  metadata.DumpLogFile,
	statsFile:             statsFile,
}

// unread are the files that are passed over: what they say is known better, or
// nobody needs it.
var unread = map[string]bool{
	metadata.StatusDumpFile: true, metadata.StatusFile: true, metadata.NetworkStatusFile: true,
	"container.log": true, "bind.mounts": true, metadata.RestoreLogFile: true,
}

// imageName matches the names of CRIU's images, and runc's file beside them.
var imageName = regexp.MustCompile(`^([a-zA-Z0-9][a-zA-Z0-9._-]{0,200}\.img|descriptors\.json|stats-dump)$`)

// whiteouts in layers.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)
