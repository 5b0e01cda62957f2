package criu

import (
	"fmt"
	"strings"
)

// Options are the CRIU options of one container, for its dumps and its
// restores alike. They reach CRIU through the file named by the org.criu.config
// annotation, which overrides what runc asks for.
type Options struct {
	// GhostLimit is the largest deleted-but-open file that is put into the
	// image, in bytes.
	GhostLimit int64
}

// File renders the options in the syntax of a CRIU configuration file: long
// option names, one a line, the value after a space or an equals sign.
func (o Options) File() []byte {
	var b strings.Builder
	for _, line := range []string{
		// The cgroup is runc's business. CRIU's default mode has damaged the
		// host's cgroup2 mount options (criu#3029).
		"manage-cgroups=ignore",
		// A successor pod has another address: established connections are
		// closed at restore, and those still being set up are left out.
		"tcp-close",
		"skip-in-flight",
		// With tcp-close no packet needs to be held back, and a CRIU that dies
		// cannot leave DROP rules in the pod's network namespace.
		"network-lock skip",
		"file-locks",
		"link-remap",
		fmt.Sprintf("ghost-limit %d", o.GhostLimit),
	} {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return []byte(b.String())
}
