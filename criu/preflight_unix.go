package criu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unixDiag asks the kernel for the unix sockets of one network namespace, that
// of the thread that opened it. The zero value lists none.
type unixDiag struct{ fd int }

// answerTimeout bounds the wait for each answer of the kernel.
const answerTimeout = 500 * time.Millisecond

func openUnixDiag() (unixDiag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return unixDiag{}, fmt.Errorf("ask for unix sockets: %w", err)
	}
	timeout := unix.NsecToTimeval(int64(answerTimeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return unixDiag{}, errors.Join(fmt.Errorf("ask for unix sockets: %w", err), unix.Close(fd))
	}
	return unixDiag{fd}, nil
}

func (d unixDiag) close() {
	if d.fd != 0 {
		_ = unix.Close(d.fd)
	}
}

// list returns the sockets and to which each is connected, wherever that is: inode
// numbers both, and 0 for none.
func (d unixDiag) list() (map[uint32]uint32, error) {
	if d.fd == 0 {
		return nil, nil
	}
	if err := unix.Sendto(d.fd, unixDiagRequest(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("ask for unix sockets: %w", err)
	}
	sockets := map[uint32]uint32{}
	buffer := make([]byte, 64<<10)
	for total := 0; total < mostText; {
		n, _, err := unix.Recvfrom(d.fd, buffer, 0)
		if err != nil {
			return nil, fmt.Errorf("list unix sockets: %w", err)
		}
		total += n
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return nil, fmt.Errorf("list unix sockets: %w", err)
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return sockets, nil
			case unix.NLMSG_ERROR:
				return nil, errors.New("the kernel does not list unix sockets")
			}
			if inode, peer := parseUnixDiag(m.Data); inode != 0 {
				sockets[inode] = peer
			}
		}
	}
	return nil, errors.New("there are too many unix sockets")
}

// Of the kernel's unix_diag.h.
const (
	sockDiagByFamily   = 20
	showPeer           = 4
	attributePeer      = 2
	sizeofDiagRequest  = 24 // struct unix_diag_req
	sizeofDiagMessage  = 16 // struct unix_diag_msg
	everyState         = ^uint32(0)
	statesInRequest    = 4
	showInRequest      = 12
	inodeInMessage     = 4
	attributeAlignment = 4
)

// unixDiagRequest is a netlink header and a struct unix_diag_req.
func unixDiagRequest() []byte {
	order := binary.NativeEndian
	b := make([]byte, unix.SizeofNlMsghdr+sizeofDiagRequest)
	order.PutUint32(b[0:], uint32(len(b)))
	order.PutUint16(b[4:], sockDiagByFamily)
	order.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	request := b[unix.SizeofNlMsghdr:]
	request[0] = unix.AF_UNIX
	order.PutUint32(request[statesInRequest:], everyState)
	order.PutUint32(request[showInRequest:], showPeer)
	return b
}

// parseUnixDiag reads a struct unix_diag_msg and its attributes.
func parseUnixDiag(data []byte) (inode, peer uint32) {
	if len(data) < sizeofDiagMessage {
		return 0, 0
	}
	order := binary.NativeEndian
	inode = order.Uint32(data[inodeInMessage:])
	for rest := data[sizeofDiagMessage:]; len(rest) >= unix.SizeofNlAttr; {
		length, kind := int(order.Uint16(rest)), order.Uint16(rest[2:])
		if length < unix.SizeofNlAttr || length > len(rest) {
			break
		}
		if kind == attributePeer && length >= unix.SizeofNlAttr+4 {
			peer = order.Uint32(rest[unix.SizeofNlAttr:])
		}
		aligned := (length + attributeAlignment - 1) &^ (attributeAlignment - 1)
		rest = rest[min(len(rest), aligned):]
	}
	return inode, peer
}
