package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// answerTimeout bounds the wait for each answer of the kernel.
	answerTimeout = 500 * time.Millisecond
	// mostAnswer bounds the kernel's answer to one question, in bytes.
	mostAnswer = 4 << 20
	// sockDiagByFamily is the one question of the kernel's sock_diag.h.
	sockDiagByFamily = 20
)

// diag asks the kernel for the sockets of one network namespace, in which it
// stays whatever the thread does that uses it.
type diag struct{ fd int }

// openDiag opens it in the network namespace of a process.
func openDiag(pid int) (diag, error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return diag{}, fmt.Errorf("open network namespace: %w", err)
	}
	defer func() { _ = ns.Close() }()
	var d diag
	onThread(func() {
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter network namespace: %w", err)
			return
		}
		d, err = newDiag()
	})
	return d, err
}

func newDiag() (diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return diag{}, fmt.Errorf("ask for sockets: %w", err)
	}
	timeout := unix.NsecToTimeval(int64(answerTimeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return diag{}, errors.Join(fmt.Errorf("ask for sockets: %w", err), unix.Close(fd))
	}
	return diag{fd}, nil
}

func (d *diag) close() {
	if d.fd != 0 {
		_ = unix.Close(d.fd)
		d.fd = 0
	}
}

// ask sends a request and calls each with every socket of the answer.
func (d diag) ask(request []byte, each func(message []byte)) error {
	header := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(request))
	binary.NativeEndian.PutUint32(header[0:], uint32(len(header)+len(request)))
	binary.NativeEndian.PutUint16(header[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(header[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if err := unix.Sendto(d.fd, append(header, request...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask for sockets: %w", err)
	}
	buffer := make([]byte, 32<<10)
	for total := 0; total < mostAnswer; {
		n, _, err := unix.Recvfrom(d.fd, buffer, 0)
		if err != nil {
			return fmt.Errorf("list sockets: %w", err)
		}
		total += n
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return fmt.Errorf("list sockets: %w", err)
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				return errors.New("list sockets: the kernel does not list them")
			}
			each(m.Data)
		}
	}
	return errors.New("list sockets: there are too many")
}

// unixEntry is what the kernel says of a unix socket.
type unixEntry struct {
	// peer is the inode of the socket that it is connected to, 0 for none.
	peer uint64
	// waiting are the clients in its backlog.
	waiting []uint64
}

// Of the kernel's unix_diag.h.
const (
	sizeofUnixRequest = 24 // struct unix_diag_req
	sizeofUnixMessage = 16 // struct unix_diag_msg
	unixShowPeer      = 4
	unixShowWaiting   = 8
	unixPeer          = 2
	unixWaiting       = 3
)

// unix lists the unix sockets by their inodes.
func (d diag) unix() (map[uint64]unixEntry, error) {
	request := make([]byte, sizeofUnixRequest)
	request[0] = unix.AF_UNIX
	binary.NativeEndian.PutUint32(request[4:], ^uint32(0)) // in every state
	binary.NativeEndian.PutUint32(request[12:], unixShowPeer|unixShowWaiting)
	list := map[uint64]unixEntry{}
	err := d.ask(request, func(message []byte) {
		if inode, entry := parseUnix(message); inode != 0 {
			list[inode] = entry
		}
	})
	return list, err
}

func parseUnix(message []byte) (inode uint64, entry unixEntry) {
	if len(message) < sizeofUnixMessage {
		return 0, entry
	}
	inode = uint64(binary.NativeEndian.Uint32(message[4:]))
	for rest := message[sizeofUnixMessage:]; len(rest) >= unix.SizeofNlAttr; {
		length, kind := int(binary.NativeEndian.Uint16(rest)), binary.NativeEndian.Uint16(rest[2:])
		if length < unix.SizeofNlAttr || length > len(rest) {
			break
		}
		value := rest[unix.SizeofNlAttr:length]
		switch {
		case kind == unixPeer && len(value) >= 4:
			entry.peer = uint64(binary.NativeEndian.Uint32(value))
		case kind == unixWaiting:
			for ; len(value) >= 4; value = value[4:] {
				entry.waiting = append(entry.waiting, uint64(binary.NativeEndian.Uint32(value)))
			}
		}
		rest = rest[min(len(rest), (length+3)&^3):]
	}
	return inode, entry
}
