package sockdiag

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Unix is what the kernel says of a unix socket.
type Unix struct {
	// Peer is the inode of the socket that it is connected to, 0 for none.
	Peer uint64
	// Waiting are the clients in its backlog.
	Waiting []uint64
}

// Of the kernel's unix_diag.h.
const (
	sizeofUnixRequest = 24 // struct unix_diag_req
	sizeofUnixMessage = 16 // struct unix_diag_msg
	unixShowPeer      = 4
	unixShowWaiting   = 8
	unixPeer          = 2
	unixWaiting       = 3
	// mostUnix bounds a list of unix sockets, in bytes.
	mostUnix = 4 << 20
)

// Unix lists the unix sockets by their inodes. A server's end of a connection is
// counted to the namespace of its client.
func (c Conn) Unix() (map[uint64]Unix, error) {
	request := make([]byte, sizeofUnixRequest)
	request[0] = unix.AF_UNIX
	binary.NativeEndian.PutUint32(request[4:], ^uint32(0)) // in every state
	binary.NativeEndian.PutUint32(request[12:], unixShowPeer|unixShowWaiting)
	list := map[uint64]Unix{}
	err := c.Ask(request, mostUnix, func(message []byte) {
		if inode, socket := parseUnix(message); inode != 0 {
			list[inode] = socket
		}
	})
	return list, err
}

// parseUnix reads a struct unix_diag_msg and its attributes.
func parseUnix(message []byte) (inode uint64, socket Unix) {
	if len(message) < sizeofUnixMessage {
		return 0, socket
	}
	order := binary.NativeEndian
	for kind, value := range Attributes(message[sizeofUnixMessage:]) {
		switch {
		case kind == unixPeer && len(value) >= 4:
			socket.Peer = uint64(order.Uint32(value))
		case kind == unixWaiting:
			for ; len(value) >= 4; value = value[4:] {
				socket.Waiting = append(socket.Waiting, uint64(order.Uint32(value)))
			}
		}
	}
	return uint64(order.Uint32(message[4:])), socket
}
