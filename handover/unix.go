package handover

import (
	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/sockdiag"
)

// settleUnix decides which unix sockets are held. Those to which outsiders can
// connect or send are, and with them those that CRIU would try to connect to
// them. The other ones that are connected are so within the container, which is
// CRIU's business, or to outside.
func (t *taking) settleUnix() error {
	ours := map[uint64]*socket{}
	for inode, s := range t.sockets {
		if f, err := factsOf(s.fd); err == nil && f.domain == unix.AF_UNIX {
			ours[inode] = s
		}
	}
	if len(ours) == 0 {
		return nil
	}
	listed, err := t.diag.Unix()
	if err != nil {
		return err
	}
	for inode, s := range ours {
		entry, known := listed[inode]
		switch {
		case s.kind != inImage:
			continue
		case !known:
			// The kernel counts a server's end to its client's network namespace.
			t.leave(Outside, s.where)
		case entry.Peer != 0 && t.sockets[entry.Peer] == nil:
			t.leave(Outside, s.where)
		}
	}
	for changed := true; changed; {
		changed = false
		for inode, s := range ours {
			if s.kind == inImage && follows(inode, listed, t.sockets) {
				s.kind, changed = unixClient, true
			}
		}
	}
	for _, s := range ours {
		if s.kind != inImage && s.passing {
			t.leave(Passing, s.where)
		}
	}
	return nil
}

// follows tells whether a unix socket is connected to a held one, or waits in the
// backlog of one.
func follows(inode uint64, listed map[uint64]sockdiag.Unix, sockets map[uint64]*socket) bool {
	if peer := sockets[listed[inode].Peer]; peer != nil && peer.kind != inImage {
		return true
	}
	for server, entry := range listed {
		if s := sockets[server]; s == nil || s.kind == inImage {
			continue
		}
		for _, client := range entry.Waiting {
			if client == inode {
				return true
			}
		}
	}
	return false
}
