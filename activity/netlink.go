package activity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Of the kernel's sock_diag.h and inet_diag.h.
const (
	sockDiagByFamily  = 20
	sizeofDiagRequest = 56 // struct inet_diag_req_v2
	sizeofDiagMessage = 72 // struct inet_diag_msg
	attributeInfo     = 2  // INET_DIAG_INFO: struct tcp_info
	groupDestroyed    = 1  // SKNLGRP_INET_TCP_DESTROY
	groupDestroyed6   = 3  // SKNLGRP_INET6_TCP_DESTROY
	ackedInInfo       = 120
	receivedInInfo    = 128
	sizeofInfo        = 136 // as much of it as is read
	attributeAlign    = 4
)

// The kernel's states of a TCP socket.
const (
	stateEstablished = 1
	stateFinWait1    = 4
	stateFinWait2    = 5
	stateCloseWait   = 8
	stateLastAck     = 9
	stateListen      = 10
	stateClosing     = 11

	statesAsked = 1<<stateEstablished | 1<<stateFinWait1 | 1<<stateFinWait2 | 1<<stateCloseWait |
		1<<stateLastAck | 1<<stateListen | 1<<stateClosing
)

const (
	// answerTimeout bounds the wait for each answer of the kernel.
	answerTimeout = 500 * time.Millisecond
	// mostAnswer bounds one list of sockets, in bytes.
	mostAnswer = 16 << 20
	// keptEvents is how much of what the kernel tells between two looks is kept, in
	// bytes. More is not needed to know that much has happened.
	keptEvents = 256 << 10
)

// answerSize is what the kernel puts into one answer at most, in bytes. Containers are
// looked at one after the other mostly, so few buffers do for many of them.
const answerSize = 32 << 10

var buffers = sync.Pool{New: func() any { return new([answerSize]byte) }}

var errTooMany = errors.New("there are too many connections to look at")

// socket is what the kernel says of one TCP socket.
type socket struct {
	// cookie is unique in its network namespace.
	cookie        uint64
	inode         uint32
	state         uint8
	local, remote netip.AddrPort
	// received and sent are the bytes of data in all; sent is what has arrived.
	received, sent uint64
}

func (s socket) bytes() uint64 { return s.received + s.sent }

// inNetwork runs a function on a thread in the network namespace of a process.
func inNetwork(pid int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("open own network namespace: %w", err)
			return
		}
		defer home.Close()
		err = enter(pid)
		if err == nil {
			err = f()
		}
		// A thread that cannot come back stays locked, and ends with this goroutine.
		if herr := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); herr == nil {
			runtime.UnlockOSThread()
		} else {
			err = errors.Join(err, fmt.Errorf("come back from network namespace: %w", herr))
		}
		done <- err
	}()
	return <-done
}

func enter(pid int) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	return nil
}

// openDiag opens a socket to ask about the sockets of the thread's namespace.
func openDiag() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return -1, fmt.Errorf("ask for sockets: %w", err)
	}
	timeout := unix.NsecToTimeval(int64(answerTimeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return -1, errors.Join(fmt.Errorf("ask for sockets: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// openEvents opens a socket on which the kernel tells of each TCP socket of the
// thread's namespace that ceases to be.
func openEvents() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return -1, fmt.Errorf("listen for connections that end: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, keptEvents),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1<<(groupDestroyed-1) | 1<<(groupDestroyed6-1)}))
	if err != nil {
		return -1, errors.Join(fmt.Errorf("listen for connections that end: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// list asks for the TCP sockets of one address family.
func list(fd int, family uint8, visit func(socket)) error {
	buffer := buffers.Get().(*[answerSize]byte)
	defer buffers.Put(buffer)
	if err := unix.Sendto(fd, listRequest(family), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask for sockets: %w", err)
	}
	for total := 0; ; {
		n, _, err := unix.Recvfrom(fd, buffer[:], 0)
		if err != nil {
			return fmt.Errorf("list sockets: %w", err)
		}
		if total += n; total > mostAnswer {
			return errTooMany
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return fmt.Errorf("list sockets: %w", err)
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				return fmt.Errorf("list sockets: %w", errnoOf(m.Data))
			}
			if s, ok := parseSocket(m.Data); ok {
				visit(s)
			}
		}
	}
}

// ended reads what the kernel has told since. It does not wait. When more was told
// than is kept, it fails with errTooMany.
func ended(fd int, visit func(socket)) error {
	buffer := buffers.Get().(*[answerSize]byte)
	defer buffers.Put(buffer)
	for {
		n, _, err := unix.Recvfrom(fd, buffer[:], unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.ENOBUFS):
			return errTooMany
		case err != nil:
			return fmt.Errorf("hear of connections that end: %w", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return fmt.Errorf("hear of connections that end: %w", err)
		}
		for _, m := range messages {
			if s, ok := parseSocket(m.Data); ok && m.Header.Type == sockDiagByFamily {
				visit(s)
			}
		}
	}
}

// listRequest is a netlink header and a struct inet_diag_req_v2.
func listRequest(family uint8) []byte {
	order := binary.NativeEndian
	b := make([]byte, unix.SizeofNlMsghdr+sizeofDiagRequest)
	order.PutUint32(b[0:], uint32(len(b)))
	order.PutUint16(b[4:], sockDiagByFamily)
	order.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	r := b[unix.SizeofNlMsghdr:]
	r[0], r[1], r[2] = family, unix.IPPROTO_TCP, 1<<(attributeInfo-1)
	order.PutUint32(r[4:], statesAsked)
	return b
}

func errnoOf(data []byte) error {
	if len(data) < 4 {
		return unix.EPROTO
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(data)))
}

// parseSocket reads a struct inet_diag_msg and, of its attributes, struct tcp_info.
func parseSocket(data []byte) (socket, bool) {
	if len(data) < sizeofDiagMessage {
		return socket{}, false
	}
	order := binary.NativeEndian
	s := socket{
		state: data[1],
		// struct inet_diag_sockid has ports and addresses in network order.
		local:  addrPort(data[0], data[8:24], data[4:6]),
		remote: addrPort(data[0], data[24:40], data[6:8]),
		cookie: uint64(order.Uint32(data[44:])) | uint64(order.Uint32(data[48:]))<<32,
		inode:  order.Uint32(data[68:]),
	}
	for rest := data[sizeofDiagMessage:]; len(rest) >= unix.SizeofNlAttr; {
		length, kind := int(order.Uint16(rest)), order.Uint16(rest[2:])
		if length < unix.SizeofNlAttr || length > len(rest) {
			break
		}
		if info := rest[unix.SizeofNlAttr:length]; kind == attributeInfo && len(info) >= sizeofInfo {
			s.sent, s.received = order.Uint64(info[ackedInInfo:]), order.Uint64(info[receivedInInfo:])
		}
		rest = rest[min(len(rest), (length+attributeAlign-1)&^(attributeAlign-1)):]
	}
	return s, true
}

func addrPort(family uint8, address, port []byte) netip.AddrPort {
	n := binary.BigEndian.Uint16(port)
	if family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(address)), n)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(address)).Unmap(), n)
}
